"""Whatever happens to a training process or its monitors: no stall, no traceback, nothing left."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.faults.harness import Trainer, wait_until, without_late_readings
from tests.monitor.nvml_stand_in import StandIn

pytestmark = pytest.mark.ci


@pytest.mark.parametrize(
    ("ending", "code"), [("normal", 0), ("exception", 1), ("sys.exit", 3), ("os._exit", 4), ("unstopped", 0)]
)
def test_training_ends_as_without_monitors(tmp_path: Path, ending: str, code: int) -> None:
    with Trainer(tmp_path, arguments=("--ending", ending)) as trainer:
        trainer.wait_for("ready")
        trainer.end()
        assert trainer.exit_code() == code
        assert trainer.left_over_after() == []
        stderr = trainer.stderr.read_text()
        if ending == "exception":
            assert stderr.count("Traceback") == 1
            assert stderr.strip().endswith("RuntimeError: training failed")
        else:
            assert without_late_readings(stderr) == ""
        assert json.loads(trainer.record.read_text())["memory_used_bytes"] > 0


def test_training_that_ends_while_monitors_still_start(tmp_path: Path) -> None:
    with Trainer(tmp_path, arguments=("--seconds", "0", "--ending", "unstopped")) as trainer:
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []
        assert without_late_readings(trainer.stderr.read_text()) == ""


@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_training_killed_by_a_signal_leaves_no_process(tmp_path: Path, name: str) -> None:
    number = signal.Signals[name]
    with Trainer(tmp_path) as trainer:
        trainer.wait_for("ready")
        assert len(trainer.left_over()) == 5, "host, Manager, relay and two workers should run"
        # As the terminal does: to everybody in the group.
        os.killpg(trainer.pid, number)
        trainer.exit_code()
        assert trainer.left_over_after() == []
        assert json.loads(trainer.record.read_text())["memory_used_bytes"] > 0


def test_training_killed_while_monitors_start_leaves_no_process(tmp_path: Path) -> None:
    with Trainer(tmp_path) as trainer:
        trainer.wait_for("started")
        wait_until(trainer.left_over, 5, "the host has begun")
        os.kill(trainer.pid, signal.SIGKILL)
        trainer.exit_code()
        assert trainer.left_over_after() == []


@pytest.mark.parametrize("victim", ["CPUMonitor", "GPUMonitor", "manager", "host"])
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSTOP"])
def test_monitor_process_that_dies_or_stops_is_replaced(tmp_path: Path, victim: str, name: str) -> None:
    with Trainer(tmp_path) as trainer:
        pids = trainer.wait_for("ready")["pids"]
        os.kill(pids[victim], signal.Signals[name])
        replaced = trainer.wait_for("fresh")["pids"]
        assert replaced[victim] != pids[victim]
        trainer.end()
        # A look is a few hundred nanoseconds. Busy cores add tenths of a second; a stall would be seconds.
        assert trainer.wait_for("ending")["longest_look_s"] < 0.5
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []
        assert "Traceback" not in trainer.stderr.read_text()


@pytest.mark.parametrize("victim", ["CPUMonitor", "manager", "host"])
def test_stopped_process_does_not_hold_the_exit(tmp_path: Path, victim: str) -> None:
    with Trainer(tmp_path) as trainer:
        pids = trainer.wait_for("ready")["pids"]
        os.kill(pids[victim], signal.SIGSTOP)
        trainer.end()
        # join_timeout_s is 1 s here, so the bound is 1.5 s.
        assert trainer.wait_for("stopped")["stop_s"] < 1.6
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []


def test_pause_and_continuation_of_the_training_process(tmp_path: Path) -> None:
    with Trainer(tmp_path) as trainer:
        trainer.wait_for("ready")
        os.kill(trainer.pid, signal.SIGSTOP)
        time.sleep(0.3)
        os.kill(trainer.pid, signal.SIGCONT)
        trainer.end()
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []
        assert without_late_readings(trainer.stderr.read_text()) == ""


@pytest.mark.parametrize("call", ["nvmlInitWithFlags", "nvmlDeviceGetUtilizationRates", "nvmlShutdown"])
def test_hung_driver_neither_delays_a_look_nor_the_exit(tmp_path: Path, call: str) -> None:
    stand_in = StandIn(tmp_path)
    if call != "nvmlInitWithFlags":
        stand_in.behave("gpus 2")
    else:
        stand_in.behave(f"hang {call}")
    with Trainer(tmp_path, stand_in.environment) as trainer:
        if call == "nvmlInitWithFlags":
            wait_until(trainer.record.exists, 15, "the processors are watched although the driver hangs")
        else:
            trainer.wait_for("ready")
            stand_in.behave("gpus 2", f"hang {call}")
            time.sleep(0.3)
        trainer.end()
        assert trainer.wait_for("ending")["longest_look_s"] < 0.5
        assert trainer.wait_for("stopped")["stop_s"] < 1.6
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []
        assert complaints(trainer) == []


def test_driver_that_hangs_and_recovers_is_shown_again(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 1")
    with Trainer(tmp_path, stand_in.environment) as trainer:
        pids = trainer.wait_for("ready")["pids"]
        stand_in.behave("hang nvmlDeviceGetUtilizationRates")
        wait_until(lambda: pids["GPUMonitor"] not in trainer.left_over(), 10, "the hung process is ended")
        stand_in.behave("gpus 1")
        replaced = trainer.wait_for("fresh", 30)["pids"]
        assert replaced["GPUMonitor"] != pids["GPUMonitor"]
        assert replaced["CPUMonitor"] == pids["CPUMonitor"], "the other monitor goes on undisturbed"


def test_driver_that_crashes_its_process_is_contained(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 1")
    with Trainer(tmp_path, stand_in.environment) as trainer:
        pids = trainer.wait_for("ready")["pids"]
        stand_in.behave("crash nvmlDeviceGetPowerUsage")
        wait_until(
            lambda: pids["GPUMonitor"] not in trainer.left_over(), 10, "the driver has crashed its process"
        )
        trainer.end()
        assert trainer.exit_code() == 0
        assert trainer.left_over_after() == []
        assert complaints(trainer) == []


def complaints(trainer: Trainer) -> list[str]:
    """What stands on standard error beside the monitors' own one-line warnings."""
    return [line for line in trainer.stderr.read_text().splitlines() if not line.startswith("monitor ")]
