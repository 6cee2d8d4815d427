"""What is known of a launch when it has ended, and what follows from it: two records without a rule."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pylon.recorder.endings.memory import MemoryCounts
from pylon.recorder.endings.status import ExitStatus


@dataclass(frozen=True, slots=True)
class StopRequest:
    """A request to end that was noted before the end.

    Attributes:
        ago_s: how long before the end.
        signal: its name; None: it was no signal.
        by: who noted it: 'program', 'parent' or 'recorder', which the same signal has reached.
        own: whether Pylon itself has sent it.
    """

    ago_s: float
    signal: str | None
    by: str
    own: bool = False


@dataclass(frozen=True, slots=True)
class Hang:
    """A launch that took no step for too long.

    Attributes:
        for_s: since its last step.
        limit_s: from when that was too long.
        step_s: what a step took before, as the median.
    """

    for_s: float
    limit_s: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Seen:
    """All that is known of an end.

    Attributes:
        status: how the process ended; None: not observable.
        word: the program's own last word; None: it had none.
        running: the process has not ended; the recording has.
        stop_requests: the newest last.
        begun, before, after: what the kernel counted at the begin, some seconds before the end (to free much
            memory takes time), and now.
        last: the last look at how close memory was to a limit.
        killed_in_log: pid and line of what the kernel's log names; None: it cannot be read.
        pid: of the process that ended, as that log would name it.
        hang: in which it ended; None if it was taking steps.
        lost_gpus: that the driver had lost in the last minute.
        xids: errors that the driver had reported in the last minute, in words.
        shared_memory_full: /dev/shm; None: not known.
        disk_full: the disk of the record; None: not known.
        crash: what a crash handler has written of the stacks.
        supervisor_ended: the monitors' supervisor was ended too.
        reports_its_end: the program records itself, so that an end in order has a word.
    """

    status: ExitStatus | None = None
    word: Mapping[str, Any] | None = None
    running: bool = False
    stop_requests: tuple[StopRequest, ...] = ()
    begun: MemoryCounts | None = None
    before: MemoryCounts | None = None
    after: MemoryCounts | None = None
    last: MemoryCounts | None = None
    killed_in_log: tuple[tuple[int, str], ...] | None = None
    pid: int | None = None
    hang: Hang | None = None
    lost_gpus: tuple[str, ...] = ()
    xids: tuple[str, ...] = ()
    shared_memory_full: bool | None = None
    disk_full: bool | None = None
    crash: str | None = None
    supervisor_ended: bool = False
    reports_its_end: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """One observation.

    Attributes:
        text: for people.
        kind: what was looked at, such as 'exit_status' or 'cgroup'.
        value: the figure or the text that was seen.
    """

    text: str
    kind: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a launch ended, as far as it is known. The words are those of EndingRow."""

    state: str
    cause: str
    certainty: str
    source: str
    exit_code: int | None = None
    signal: int | None = None
    evidence: tuple[Evidence, ...] = field(default=())
    traceback: str | None = None
    last_lines: str | None = None

    def with_evidence(self, *more: Evidence) -> "Judgement":
        """The same with further evidence."""
        return dataclasses.replace(self, evidence=(*self.evidence, *more))
