"""What is exported while a driver loses a GPU, and while it hangs."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.monitor.nvml_stand_in import StandIn

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[3]
Series = dict[tuple[str, str], float]


def read(path: Path) -> Series:
    """By metric and UUID; empty before the first file."""
    if not path.exists():
        return {}
    return {
        (one.name, one.labels["uuid"]): one.value
        for family in text_string_to_metric_families(path.read_text())
        for one in family.samples
        if "uuid" in one.labels
    }


def wait_for(path: Path, condition: Callable[[Series], bool]) -> Series:
    until_s = time.monotonic() + 40
    while not condition(found := read(path)) and time.monotonic() < until_s:
        time.sleep(0.1)
    assert condition(found), found
    return found


def test_figures_go_with_the_gpu_and_with_the_driver(tmp_path: Path) -> None:
    stand_in, target = StandIn(tmp_path), tmp_path / "pylon.prom"
    stand_in.behave("gpus 2")
    command = [sys.executable, "-m", "pylon", "export", "--interval-s", "0.3", "--textfile", str(target)]
    with subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | stand_in.environment) as process:
        try:
            both = wait_for(target, lambda found: list(found.values()).count(1.0) >= 4)
            uuids = sorted(uuid for name, uuid in both if name == "pylon_gpu_up")
            assert len(uuids) == 2
            assert {("pylon_gpu_power_watts", uuid) for uuid in uuids} <= set(both)
            stand_in.behave("gpus 2", "lost 1")
            lost = wait_for(target, lambda found: found.get(("pylon_gpu_up", uuids[1])) == 0)
            assert ("pylon_gpu_power_watts", uuids[0]) in lost
            assert {name for name, uuid in lost if uuid == uuids[1]} == {"pylon_gpu_up", "pylon_gpu_info"}
            stand_in.behave("gpus 2", "hang nvmlDeviceGetUtilizationRates")
            hung = wait_for(target, lambda found: ("pylon_gpu_power_watts", uuids[0]) not in found)
            assert {name for name, _ in hung} == {"pylon_gpu_info"}
        finally:
            process.terminate()
    assert process.returncode == 143
    assert not target.exists()
