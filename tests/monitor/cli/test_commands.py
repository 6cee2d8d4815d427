"""`python -m monitor once`, as a user and a program call it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.faults.harness import marked, wait_until
from tests.monitor.nvml_stand_in import StandIn

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
MARK = "PYLON_TEST_MARK"


def once(
    *arguments: str, environment: dict[str, str] | None = None, **more: Any
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "monitor", *arguments]
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
        **({"capture_output": True} | more),
    )


@pytest.fixture
def driver(tmp_path: Path) -> StandIn:
    made = StandIn(tmp_path)
    made.behave("gpus 2")
    return made


def test_machine_is_shown_in_words(driver: StandIn) -> None:
    done = once("once", environment=driver.environment)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith("cgroup")] == [
        "CPU",
        "memory",
        "GPU",
        "GPU",
    ]
    assert " 0.0 of " not in lines[1]


def test_free_gives_the_reason_a_machine_has_no_free_gpu(driver: StandIn) -> None:
    driver.behave("gpus 0")
    done = once("free", "--timeout-s", "10", environment=driver.environment)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "localhost: no GPU\n"


def test_free_gives_the_reason_each_gpu_is_not_free(driver: StandIn) -> None:
    driver.behave("gpus 2", "value nvmlDeviceGetComputeMode 2")
    done = once("free", "--timeout-s", "10", "--json", environment=driver.environment)
    assert done.returncode == 3
    reasons = [one["reason"] for one in json.loads(done.stdout)["not_free"]]
    assert reasons == ["no process may compute on it (compute mode 'prohibited')"] * 2
    assert [line[:16] for line in done.stderr.splitlines()] == ["localhost: GPU 0", "localhost: GPU 1"]


def no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def test_machine_is_shown_to_programs(driver: StandIn) -> None:
    done = once("once", "--json", environment=driver.environment)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout, parse_constant=no_constant)
    assert set(content) >= {"cpu", "gpu", "health", "origins", "remote_origins"}
    assert "memory_used_bytes" in content["origins"]["MIGInstance"]
    cpu, gpu = content["cpu"]["localhost"], content["gpu"]["localhost"]
    assert cpu["absence"] is None
    assert 0 <= cpu["age_s"] < 30
    assert cpu["status"]["sample"]["memory_total_bytes"] > 0
    assert 0 <= cpu["status"]["sample"]["cpu_percent"] <= 100
    assert len(gpu["status"]["gpus"]) == 2
    assert gpu["status"]["gpus"][0]["uuid"].startswith("GPU-")
    assert set(content["health"]) == {"CPUMonitor", "GPUMonitor", "manager"}
    assert content["health"]["CPUMonitor"]["restarts"] == 0


def test_gpu_driver_is_not_opened_where_that_is_asked_for(driver: StandIn) -> None:
    driver.behave("gpus 2", driver.logging)
    done = once("once", "--no-gpu", "--json", environment=driver.environment)
    assert (done.returncode, done.stderr) == (0, "")
    content = json.loads(done.stdout)
    assert content["gpu"] == {}
    assert set(content["health"]) == {"CPUMonitor", "manager"}
    assert driver.calls() == {}


def test_machine_without_a_driver_is_shown_without_an_error() -> None:
    done = once("once", environment={"LD_LIBRARY_PATH": ""})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith("GPU")


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("twice",),
        ("once", "--yaml"),
        ("once", "--timeout-s", "soon"),
        ("once", "--timeout-s", "0"),
        ("once", "--timeout-s", "-1"),
        ("once", "--timeout-s", "nan"),
        ("once", "more"),
    ],
)
def test_wrong_command_line_is_refused_with_a_reason(arguments: tuple[str, ...]) -> None:
    done = once(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("--help",), ("once", "--help")])
def test_help_is_shown(arguments: tuple[str, ...]) -> None:
    done = once(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m monitor" in done.stdout


def test_help_lists_the_exit_codes() -> None:
    assert all(f"  {code}" in once("--help").stdout for code in (0, 1, 2, 130))


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_reader_that_has_gone_is_no_error(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = once(
            "once",
            "--json",
            "--no-gpu",
            environment={"PYTHONUNBUFFERED": unbuffered},
            capture_output=False,
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_hung_driver_costs_its_time_limit_and_the_rest_is_shown(driver: StandIn) -> None:
    driver.behave("hang nvmlInitWithFlags")
    begun = time.monotonic()
    environment = driver.environment | {MARK: "test-cli-hung"}
    done = once("once", "--timeout-s", "2", environment=environment)
    # 2 s to answer and 2.5 s to end; the rest is for starting on a crowded machine.
    assert time.monotonic() - begun < 8
    assert done.returncode == 1
    assert done.stdout.startswith("CPU ")
    assert "Traceback" not in done.stderr
    wait_until(lambda: not list(marked("test-cli-hung")), 2, "no process is left")


def test_hung_driver_is_reported_to_programs(driver: StandIn) -> None:
    driver.behave("hang nvmlInitWithFlags")
    done = once("once", "--json", "--timeout-s", "2", environment=driver.environment)
    assert done.returncode == 1
    content = json.loads(done.stdout, parse_constant=no_constant)
    assert content["cpu"]["localhost"]["absence"] is None
    assert all(seen["status"] is None for seen in content["gpu"].values())


def test_watch_shows_a_hung_driver_in_the_state(driver: StandIn) -> None:
    driver.behave("hang nvmlInitWithFlags")
    # Readings may take 5 s; after that their process is replaced, and hangs again.
    done = once("watch", "--interval-s", "0.5", "--count", "24", environment=driver.environment)
    assert done.returncode == 0
    states = [line.split("  ")[2].strip() for line in done.stdout.splitlines() if "localhost" in line]
    assert "GPU hung" in states, states
    # Until the first reading is seen to take long, its server is not in the report.
    assert "ok" not in states[states.index("GPU hung") :], states


def test_more_memory_than_a_float_of_bytes_holds_is_free_nowhere(driver: StandIn) -> None:
    done = once("free", "--memory-gb", "1e308", environment=driver.environment)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("localhost: GPU 0 (Stand-in 0): not enough free memory\n")


def test_ctrl_c_ends_it_without_a_traceback(driver: StandIn) -> None:
    driver.behave("hang nvmlInitWithFlags")
    process = subprocess.Popen(
        [sys.executable, "-m", "monitor", "once", "--timeout-s", "30"],
        cwd=REPOSITORY,
        env={**os.environ, **driver.environment, MARK: "test-cli-ctrl-c"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        # Its workers run: it waits for them.
        wait_until(lambda: len(list(marked("test-cli-ctrl-c"))) >= 6, 20, "it waits for a reading")
        os.killpg(process.pid, signal.SIGINT)
        printed = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert printed == ("", "")
    wait_until(lambda: not list(marked("test-cli-ctrl-c")), 2, "no process is left")
