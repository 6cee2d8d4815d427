"""A collector may fail in any way: it costs its own samples, never the run, and it is told typed and once."""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import Absence, MonitorState, ResourceLimits
from tests.faults.harness import wait_until
from tests.faults.misbehaving import ERRORS, Scripted, Ticker, TwoServers

pytestmark = pytest.mark.ci

# For what takes a second on a machine that has time.
PATIENCE_S = 35.0
QUICK = {"interval_s": 0.1, "timeout_s": 0.5, "join_timeout_s": 1.0}


class Scene:
    """A scripted monitor that runs, and what it is told to do."""

    def __init__(self, folder: Path) -> None:
        self.control = folder / "control"
        self.monitor: Scripted | None = None

    def say(self, what: str) -> None:
        replacement = self.control.with_suffix(".new")
        replacement.write_text(what)
        replacement.replace(self.control)

    def start(self, what: str = "well", **settings: Any) -> Scripted:
        self.say(what)
        self.monitor = Scripted(self.control, **QUICK | settings)
        self.monitor.start()
        return self.monitor

    def well(self, timeout_s: float = 15.0) -> None:
        """Wait until readings succeed, in a process that has not failed since."""
        self.say("well")
        monitor = self.monitor
        assert monitor is not None
        wait_until(
            lambda: monitor.health().state is MonitorState.OK and current(monitor) is not None,
            timeout_s,
            "readings succeed",
        )


def current(monitor: Any, server: str = "localhost") -> Any:
    seen = monitor.latest().get(server)
    return None if seen is None else seen.current


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    if made.monitor is not None:
        made.monitor.stop()


@pytest.mark.parametrize("kind", sorted(ERRORS))
def test_error_of_a_collector_is_told_typed_once_and_costs_only_its_samples(
    scene: Scene, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pylon.monitor")
    monitor = scene.start()
    scene.well()
    pid = monitor.health().pid
    scene.say(kind)

    def failed() -> bool:
        server = monitor.health().servers["localhost"]
        return server.last_error is not None and server.consecutive_failures > 5

    wait_until(failed, 10, "readings fail")
    error = monitor.health().servers["localhost"].last_error
    assert error is not None
    assert (error.kind, error.text) == (type(ERRORS[kind]).__name__, str(ERRORS[kind]))
    wait_until(lambda: current(monitor) is None, 5, "the last status is not current any more")
    seen = monitor.latest()["localhost"]
    assert seen.absence is Absence.UNREACHABLE
    assert seen.status is not None, "the last good status stays"
    assert monitor.health().pid == pid, "a failed reading is no reason to replace the process"
    told = [record for record in caplog.records if "reading failed" in record.message]
    assert len(told) == 1
    assert told[0].__dict__["error_kind"] == error.kind
    scene.well()


@pytest.mark.parametrize(
    ("what", "kind", "text"),
    [
        ("segfault", "ended", "by SIGSEGV"),
        ("leave", "ended", "with exit code 3"),
        ("hang", "hung", "a reading takes longer than"),
        ("sys_exit", "hung", "a reading takes longer than"),
    ],
)
def test_collector_that_ends_or_hangs_its_process_is_replaced(
    scene: Scene, what: str, kind: str, text: str
) -> None:
    monitor = scene.start()
    scene.well()
    pid = monitor.health().pid
    before = monitor.latest()["localhost"].status
    scene.say(what)
    wait_until(lambda: monitor.health().restarts > 0, 15, "the process is replaced")
    error = monitor.health().last_error
    assert error is not None
    assert error.kind == kind
    assert text in error.text
    assert monitor.latest()["localhost"].status >= before, "the last good status stays"
    scene.well()
    assert monitor.health().pid != pid


def test_collector_that_closes_its_descriptors_is_replaced(scene: Scene) -> None:
    # Not QUICK's time-out: on a loaded machine the Manager would be found silent too, and be replaced with
    # longer and longer pauses, so that nothing settles.
    monitor = scene.start(timeout_s=5.0)
    scene.well(PATIENCE_S)
    pid = monitor.health().pid
    scene.say("close_everything")
    wait_until(lambda: monitor.health().pid != pid, PATIENCE_S, "the process has ended")
    # At once: a replacement that still reads the order would close its descriptors as well.
    scene.well(PATIENCE_S)
    assert monitor.health().pid not in {pid, None}


def test_collector_that_cannot_be_made_is_tried_again(scene: Scene) -> None:
    monitor = scene.start("fail at start")
    wait_until(lambda: monitor.health().restarts > 1, 15, "it is tried again")
    error = monitor.health().last_error
    assert error is not None
    assert str(error) == "RuntimeError: nothing to open"
    scene.well()


def test_flood_of_output_reaches_nobody(scene: Scene, capfd: pytest.CaptureFixture[str]) -> None:
    monitor = scene.start()
    scene.well()
    begun = monitor.latest()["localhost"].status
    scene.say("flood")
    wait_until(lambda: monitor.latest()["localhost"].status > begun + 5, 10, "readings go on in the flood")
    monitor.stop()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("what", ["allocate", "gorge"])
def test_collector_that_allocates_without_end_is_stopped_before_the_machine_is_full(
    scene: Scene, what: str
) -> None:
    limits = ResourceLimits(memory_bytes=96 << 20)
    monitor = scene.start(limits=limits, timeout_s=30.0)
    scene.well()
    pid = monitor.health().pid
    assert pid is not None
    scene.say(what)
    largest = 0

    def noticed() -> bool:
        nonlocal largest
        largest = max(largest, resident_bytes(pid))
        health = monitor.health()
        server = health.servers["localhost"]
        return health.restarts > 0 or (
            server.last_error is not None and server.last_error.kind == "MemoryError"
        )

    wait_until(noticed, 30, "the hoarding ends")
    # The kernel refuses more than four times the limit; what the interpreter maps besides is little.
    assert largest < 4.5 * limits.memory_bytes
    scene.well(30)


def test_process_over_its_cpu_limit_reads_less_often_and_then_is_replaced(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    monitor = scene.start(limits=ResourceLimits(cpu_share=0.05))
    scene.well()
    scene.say("burn")
    wait_until(lambda: monitor.health().slowdown > 1, 20, "it is slowed down")
    assert "of a core, limit 0.05" in str(monitor.health().slowed_because)
    wait_until(lambda: monitor.health().restarts > 0, 20, "it is replaced")
    error = monitor.health().last_error
    assert error is not None
    assert error.kind == "over_limit"
    assert [record for record in caplog.records if "slowed down" in record.message]


@pytest.mark.parametrize(
    ("what", "kind"), [("unpicklable", None), ("huge", "ValueError"), ("poison", "RuntimeError")]
)
def test_status_that_cannot_be_sent_is_that_readings_failure(
    scene: Scene, what: str, kind: str | None
) -> None:
    monitor = scene.start()
    scene.well()
    pid = monitor.health().pid
    scene.say(what)
    wait_until(
        lambda: monitor.health().servers["localhost"].last_error is not None, 10, "the reading has failed"
    )
    error = monitor.health().servers["localhost"].last_error
    assert error is not None
    assert kind is None or error.kind == kind
    assert monitor.latest()["localhost"].status is not None
    scene.well()
    assert monitor.health().pid == pid


def test_ticks_missed_by_a_long_reading_are_counted_and_not_made_up_for(scene: Scene) -> None:
    monitor = scene.start()
    scene.well()
    scene.say("dawdle")
    before = monitor.health().servers["localhost"].overruns
    first = monitor.latest()["localhost"].status
    wait_until(lambda: monitor.health().servers["localhost"].overruns >= before + 6, 15, "ticks are missed")
    # Each reading of 2.5 intervals misses two ticks: three readings or four have missed six.
    assert monitor.latest()["localhost"].status - first <= 5


def test_rhythm_does_not_drift(tmp_path: Path) -> None:
    log = tmp_path / "ticks"
    log.touch()
    ticks = 40
    with Ticker(log, **QUICK):
        wait_until(lambda: len(log.read_text().splitlines()) > ticks, 20, "readings come")
    times = [float(line) for line in log.read_text().splitlines()[: ticks + 1]]
    steps = [round((one - times[0]) / 0.1, 1) for one in times]
    # Sleeping an interval after each reading would be 13 intervals late by now.
    assert steps[-1] - round(steps[-1]) == pytest.approx(0, abs=0.5)
    off_beat = [step for step in steps if abs(step - round(step)) > 0.4]
    assert len(off_beat) < ticks / 4


def test_hung_server_delays_no_other(tmp_path: Path) -> None:
    with TwoServers(interval_s=0.1, timeout_s=30.0, join_timeout_s=1.0) as monitor:
        wait_until(lambda: current(monitor, "well") == "well", 10, "the first server is read")
        wait_until(
            lambda: monitor.latest()["hung"].absence is Absence.HUNG, 10, "the second one is seen to hang"
        )
        before = monitor.latest()["well"].measured_s
        wait_until(lambda: monitor.latest()["well"].measured_s > before, 5, "the first one is read again")


def test_hung_close_does_not_hold_the_stop(scene: Scene) -> None:
    monitor = scene.start("hang_at_close")
    wait_until(lambda: current(monitor) is not None, 10, "it is read")
    pid = monitor.health().pid
    assert pid is not None
    done = threading.Event()

    def stop() -> None:
        monitor.stop()
        done.set()

    threading.Thread(target=stop, daemon=True).start()
    # join_timeout_s 1 s + 0.5 s is promised.
    assert done.wait(3)
    wait_until(lambda: not Path(f"/proc/{pid}").exists(), 2, "the process has ended")


def resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0
