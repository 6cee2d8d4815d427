"""A request during the supervisor's start is followed: it waits in the pipe behind the spec."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor import GPUStatus, SystemMonitor
from tests.faults.harness import wait_until
from tests.monitor.nvml_stand_in import StandIn


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path)
    made.behave("gpus 1", made.logging)
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def watch() -> Iterator[SystemMonitor]:
    made = SystemMonitor(interval_s=0.1, join_timeout_s=1.0)
    yield made
    made.stop()


def newest(watch: SystemMonitor) -> GPUStatus | None:
    seen = watch.latest().gpu.get("localhost")
    return None if seen is None else seen.current


def wait_for_a_status(watch: SystemMonitor) -> GPUStatus:
    wait_until(lambda: newest(watch) is not None, 20, "the GPU monitor reports")
    status = newest(watch)
    assert status is not None
    return status


def test_driver_that_was_released_before_the_start_is_never_opened(
    driver: StandIn, watch: SystemMonitor
) -> None:
    watch.release()
    watch.start()
    assert wait_for_a_status(watch).released
    assert driver.calls()["nvmlInitWithFlags"] == 0


@pytest.mark.slow
def test_driver_that_is_released_right_after_the_start_is_closed(
    driver: StandIn, watch: SystemMonitor
) -> None:
    watch.start()
    watch.release()
    wait_for_a_status(watch)
    wait_until(lambda: (status := newest(watch)) is not None and status.released, 5, "it is released")


@pytest.mark.slow
def test_driver_stays_released_when_the_host_is_replaced(driver: StandIn, watch: SystemMonitor) -> None:
    watch.release()
    watch.start()
    wait_for_a_status(watch)
    client = watch._client
    assert client is not None
    former = client.supervisor_pid
    assert former is not None
    driver.forget_calls()
    os.kill(former, signal.SIGKILL)
    wait_until(lambda: client.supervisor_pid not in {former, None}, 20, "the host is replaced")
    measured_s = watch.latest().gpu["localhost"].measured_s
    wait_until(
        lambda: newest(watch) is not None and watch.latest().gpu["localhost"].measured_s != measured_s,
        20,
        "the GPU monitor reports again",
    )
    status = newest(watch)
    assert status is not None
    assert status.released
    assert driver.calls()["nvmlInitWithFlags"] == 0
