"""Limits of the monitors' own processes, on processes that really use something."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.monitor import MonitorSettingError, ResourceLimits
from pylon.monitor.process.heartbeat import Heartbeat
from pylon.monitor.process.resources import _LOOK_EVERY_S, _SLOWED_FOR_S, _STRIKES, LimitWatch, _use
from tests.faults.harness import wait_until

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[3]
MIB = 1 << 20
# The clock that is given to LimitWatch runs ahead of the real one, so that a test need not wait. A
# process that burns CPU for this long between two looks, a second apart to LimitWatch, is over that share.
BURNT_S = 0.03
TIGHT = ResourceLimits(cpu_share=0.02)


@pytest.fixture
def busy() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process.pid
    process.kill()
    process.wait(10)


class Looks:
    """Looks of a LimitWatch at a process, each a second after the one before."""

    def __init__(self, pid: int, limits: ResourceLimits, began_s: float = -10.0) -> None:
        self.restraint = LimitWatch(limits, began_s)
        self.heartbeat = Heartbeat()
        self.now = 0.0
        self._pid = pid

    def look(self, *, burnt_s: float = BURNT_S, after_s: float = _LOOK_EVERY_S) -> str | None:
        """Wait until the process has used `burnt_s` more of CPU time, and look."""
        if burnt_s:
            before = _use(self._pid)[0]
            wait_until(lambda: _use(self._pid)[0] - before > burnt_s, 30, "the process computes")
        self.now += after_s
        return self.restraint.look(self._pid, self.heartbeat, self.now)


def test_use_is_that_of_the_process(busy: int) -> None:
    cpu_s, memory_bytes = _use(busy)
    wait_until(lambda: _use(busy)[0] > cpu_s + 0.1, 30, "CPU time grows")
    # Right after its start it has hardly anything.
    assert memory_bytes <= _use(busy)[1]
    assert 2 * MIB < _use(busy)[1] < 200 * MIB
    own_s = os.times()
    assert _use(os.getpid())[0] == pytest.approx(own_s.user + own_s.system, abs=0.5)


def test_process_over_its_share_is_slowed_down_and_then_given_up(busy: int) -> None:
    looks = Looks(busy, TIGHT)
    assert looks.look() is None, "the first look has nothing to compare with"
    assert looks.restraint.reason is None
    for strike in range(1, _STRIKES):
        assert looks.look() is None, f"strike {strike}"
        assert looks.heartbeat.slowdown == 4.0
        assert "of a core, limit 0.02" in str(looks.restraint.reason)
    verdict = looks.look()
    assert verdict is not None
    assert verdict == looks.restraint.reason


def test_process_within_its_share_is_left_alone(busy: int) -> None:
    looks = Looks(busy, ResourceLimits(cpu_share=1000.0))
    assert [looks.look(burnt_s=0.01) for _ in range(6)] == [None] * 6
    assert looks.heartbeat.slowdown == 1.0


def test_strikes_are_forgotten_after_one_look_within_the_limits(busy: int) -> None:
    looks = Looks(busy, TIGHT)
    for _ in range(_STRIKES):
        assert looks.look() is None
    os.kill(busy, signal.SIGSTOP)
    assert looks.look(burnt_s=0.0, after_s=10_000 * BURNT_S) is None
    os.kill(busy, signal.SIGCONT)
    assert [looks.look() for _ in range(_STRIKES - 1)] == [None] * (_STRIKES - 1)


def test_slowed_process_is_let_go_again_after_a_while(busy: int) -> None:
    looks = Looks(busy, TIGHT)
    looks.look()
    looks.look()
    assert looks.heartbeat.slowdown == 4.0
    os.kill(busy, signal.SIGSTOP)
    assert looks.look(burnt_s=0.0, after_s=_SLOWED_FOR_S - 1) is None
    assert looks.heartbeat.slowdown == 4.0
    assert looks.look(burnt_s=0.0, after_s=2) is None
    assert (looks.heartbeat.slowdown, looks.restraint.reason) == (1.0, None)


def test_start_may_cost_more_than_the_share(busy: int) -> None:
    looks = Looks(busy, TIGHT, began_s=0.0)
    assert [looks.look() for _ in range(4)] == [None] * 4
    assert looks.heartbeat.slowdown == 1.0
    looks.look()
    assert looks.heartbeat.slowdown == 4.0, "5 s after the start it counts"


def test_looks_closer_than_a_second_are_none(busy: int) -> None:
    looks = Looks(busy, TIGHT)
    looks.look()
    assert [looks.look(after_s=0.1) for _ in range(9)] == [None] * 9
    assert looks.heartbeat.slowdown == 1.0


def test_process_over_its_memory_is_slowed_down_and_then_given_up() -> None:
    code = f"x = bytearray(b'1') * {64 * MIB}; print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdout.readline()
        looks = Looks(process.pid, ResourceLimits(memory_bytes=48 * MIB))
        assert [looks.look(burnt_s=0.0) for _ in range(_STRIKES - 1)] == [None] * (_STRIKES - 1)
        assert looks.heartbeat.slowdown == 4.0
        assert "MiB of memory, limit 48 MiB" in str(looks.look(burnt_s=0.0))
    finally:
        process.kill()
        process.communicate()


def test_process_that_has_ended_is_no_offender() -> None:
    process = subprocess.Popen(["true"])
    process.wait(10)
    looks = Looks(process.pid, TIGHT)
    assert [looks.look(burnt_s=0.0) for _ in range(_STRIKES + 2)] == [None] * (_STRIKES + 2)


ALLOCATE = """
import resource
from pylon.monitor import ResourceLimits
from pylon.monitor.process.resources import cap_memory
MIB = 1 << 20
{before}
cap_memory(ResourceLimits(memory_bytes=48 * MIB))
kept = bytearray(100 * MIB)
try:
    bytearray(200 * MIB)
except MemoryError:
    print("refused", *resource.getrlimit(resource.RLIMIT_DATA))
else:
    print("given", *resource.getrlimit(resource.RLIMIT_DATA))
"""


@pytest.mark.parametrize(
    ("before", "limit"),
    [("", 192 * MIB), ("resource.setrlimit(resource.RLIMIT_DATA, (150 * MIB, 150 * MIB))", 150 * MIB)],
)
def test_kernel_refuses_four_times_the_limit_or_what_the_user_has_set_lower(before: str, limit: int) -> None:
    command = [sys.executable, "-c", ALLOCATE.format(before=before)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == (f"refused {limit} {limit}\n", "")


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(MonitorSettingError, match="cpu_share"):
        ResourceLimits(cpu_share=share)


@pytest.mark.parametrize("bytes_", [0, 32 * MIB - 1, -1])
def test_memory_out_of_range_is_refused(bytes_: int) -> None:
    with pytest.raises(MonitorSettingError, match="memory_bytes"):
        ResourceLimits(memory_bytes=bytes_)
