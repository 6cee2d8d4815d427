"""The wheel without extras, on each supported CPython: the monitors work, and training names its extra."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.faults.harness import marked, wait_until
from tests.monitor.ssh.sshd import Sshd
from tests.packaging.conftest import Distributions
from tests.packaging.installation import RELEASES, REPOSITORY, Installation, install, new_mark

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300, func_only=True)]

WATCHING = """\
import time

from pylon.monitor import SystemMonitor

with SystemMonitor(interval_s=0.5) as watch:
    for step in range(40):
        time.sleep(0.25)
        cpu = watch.latest().cpu.get("localhost")
        if cpu is not None and cpu.current is not None:
            print(step, cpu.current.sample.memory_total_bytes, cpu.age_s)
            break
"""
OWN_CLASS = """\
import time
from dataclasses import dataclass

from pylon.monitor import BaseMonitor


@dataclass(frozen=True)
class Uptime:
    seconds: float


class UptimeMonitor(BaseMonitor[Uptime]):
    def _update_single_server(self, server: str) -> Uptime:
        return Uptime(time.monotonic())
"""
OWN = """\
import time

from models import UptimeMonitor
from pylon.monitor import SystemMonitor

with SystemMonitor(gpu=False, others=[UptimeMonitor(interval_s=0.2)]) as watch:
    while not (seen := watch.latest().others.get("UptimeMonitor", {})):
        time.sleep(0.1)
    print(f"up for {seen['localhost'].status.seconds:.0f} s")
"""
FOREVER = """\
import time

from pylon.monitor import SystemMonitor

with SystemMonitor(interval_s=0.2) as watch:
    while watch.latest().cpu.get("localhost") is None or watch.latest().cpu["localhost"].current is None:
        time.sleep(0.05)
    print("watching", flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module", params=RELEASES)
def installed(
    request: pytest.FixtureRequest, distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    return install(tmp_path_factory.mktemp(f"alone-{request.param}"), request.param, distributions.wheel)


def test_only_pylon_and_what_the_monitors_need_is_installed(installed: Installation) -> None:
    names = {path.name for path in installed.site_packages.iterdir()}
    ours = {name for name in names if name.startswith("pylon")}
    assert {name.partition("-")[0] for name in ours} == {"pylon", "pylon_runner"}
    assert len(ours) == 2
    folders = {
        "monitor",
        "recorder",
        "runners",
        "data",
        "models",
        "criteria",
        "metrics",
        "storage",
        "configs",
    }
    assert not names & folders
    assert not names & {"torch", "numpy", "rich", "PIL"}
    assert {"psutil", "paramiko"} <= names


def test_once_shows_this_machine_to_a_program(installed: Installation) -> None:
    done = installed.run(installed.pylon, "once", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads(done.stdout)
    assert seen["cpu"]["localhost"]["status"]["sample"]["memory_total_bytes"] > 0


def test_script_watches(installed: Installation) -> None:
    (installed.folder / "watching.py").write_text(WATCHING)
    done = installed.run(installed.python, "watching.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.split()) == 3


def test_example_of_readme_runs(installed: Installation) -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    (installed.folder / "watch.py").write_text(
        re.findall(r"```python\n(# watch\.py\n.*?)```", readme, re.S)[0]
    )
    done = installed.run(installed.python, "watch.py")
    assert (done.returncode, done.stderr) == (0, "")


def test_monitor_of_a_class_in_the_users_own_models_py(installed: Installation) -> None:
    (installed.folder / "models.py").write_text(OWN_CLASS)
    (installed.folder / "own.py").write_text(OWN)
    done = installed.run(installed.python, "own.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("up for ")


def test_server_is_read_over_ssh(installed: Installation, tmp_path: Path) -> None:
    with Sshd(tmp_path / "sshd") as sshd:
        config = sshd.client_config(hosts={"gpu1": "127.0.0.1"})
        done = installed.run(
            installed.pylon, "once", "--json", "--server", "gpu1", "--ssh-config", config, "--no-gpu"
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["cpu"]["gpu1"]["status"]["sample"]["memory_total_bytes"] > 0


def test_sigkill_of_the_program_leaves_nothing_behind(installed: Installation) -> None:
    (installed.folder / "forever.py").write_text(FOREVER)
    mark = new_mark()
    with installed.start(mark, installed.python, "forever.py") as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "watching\n"
            assert len(list(marked(mark))) > 1, "it has processes of its own"
        finally:
            process.send_signal(signal.SIGKILL)
        wait_until(lambda: not list(marked(mark)), 5, "no process is left")


def test_training_names_the_extra(installed: Installation) -> None:
    (installed.folder / "run.py").write_text("config = {}\n")
    done = installed.run(installed.pylon, "train", "--config-filepath", "run.py")
    assert (done.returncode, done.stdout) == (2, "")
    assert "extra 'train'" in done.stderr
    assert done.stderr.count("\n") == 1
    done = installed.run(installed.python, "-c", "from pylon.runners import SupervisedSingleTaskTrainer")
    assert "MissingExtraError" in done.stderr.splitlines()[-1]
