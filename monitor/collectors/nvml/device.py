"""One GPU, over all sessions with the driver: what is asked of it and what it last said."""

from dataclasses import dataclass, field, fields
from typing import Any

from pylon.monitor.collectors.nvml.driver import Driver, DriverError
from pylon.monitor.collectors.nvml.fields import FAST, IDENTITY, SLOW, Question
from pylon.monitor.collectors.nvml.mig import InstanceReader
from pylon.monitor.collectors.nvml.processes import (
    MOST_PROCESSES,
    Watchers,
    in_order,
    memory_of,
    processes_of,
)
from pylon.monitor.status import Absence, GPUProcess, GPUSample, WindowStats, origins
from pylon.monitor.status.window import Window

Handle = Any  # of pynvml, which has no types

# Calls of a slow reading before the first has been counted: SLOW and two lists of processes.
_USUAL_SLOW_CALLS = len(SLOW) + 4
_PROCESS_FIELDS = ("processes", "run_memory_used_bytes", "others_memory_used_bytes")
_IDENTITY_FIELDS = {"uuid", "index", *(name for question in IDENTITY for name in question.fields)}
_MEASURED = frozenset(origins(GPUSample)) - _IDENTITY_FIELDS
_SLOW_FIELDS = _MEASURED - {name for question in FAST for name in question.fields}


@dataclass(slots=True)
class Answers:
    """Values by field name, and the reasons of those that are absent."""

    values: dict[str, Any] = field(default_factory=dict)
    absent: dict[str, Absence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the windows of a GPU say."""

    utilization_percent: WindowStats
    memory_used_bytes: WindowStats
    temperature_c: WindowStats
    power_w: WindowStats


class Device:
    """A GPU. It stays in view, by its UUID, when it or the driver goes.

    Args:
        driver: whom to ask.
        uuid: identity.
        window_size: readings that statistics go over.

    Attributes:
        uuid: identity.
        index: the driver's number for it in this session; None where the session does not have it.
        handle: the driver's handle for it in this session; None where there is none.
        missing: why there is none.
        slow_due_s: when its slow fields are to be read next.
        slow_calls: calls into the driver that reading them takes.
        lost: at the last tick the driver said that the GPU is.
        handle_bad: all that was asked last was answered as if the handle were not good any more.
    """

    def __init__(self, driver: Driver, uuid: str, window_size: int) -> None:
        self._driver = driver
        self.uuid = uuid
        self.index: int | None = None
        self.handle: Handle | None = None
        self.missing = Absence.LOST
        self.slow_due_s = float("-inf")
        self.slow_calls = _USUAL_SLOW_CALLS
        self.lost = False
        self.handle_bad = False
        self._windows = tuple(Window(window_size) for _ in fields(Statistics))
        self._identity = Answers()
        self._begin_session()

    def _begin_session(self) -> None:
        self._unsupported: set[tuple[str, tuple[str, ...], int]] = set()
        self._instances = InstanceReader(self._driver)
        self._fast = Answers()
        self.lost = self.handle_bad = False
        self._forget_slow()

    def _forget_slow(self) -> None:
        self._slow = Answers()
        self._slow_read_s: float | None = None
        self._processes_left_out = 0
        self.slow_due_s = float("-inf")

    def attach(self, index: int, handle: Handle) -> None:
        """The new session has this GPU under `index`. Raises DriverError where the session is over."""
        self.index, self.handle = index, handle
        self._begin_session()
        self._ask_identity()

    def detach(self, reason: Absence, index: int | None = None) -> None:
        """The driver has no handle for this GPU (any more)."""
        self.index, self.handle, self.missing = index, None, reason
        self._begin_session()

    @property
    def answering(self) -> bool:
        """Whether there is any use in asking it more at this tick."""
        return self.handle is not None and not self.lost and not self.handle_bad

    def read_fast(self) -> None:
        """Read what is read at every tick. Raises DriverError where the session is over."""
        self._fast = answers = Answers()
        self.lost = self.handle_bad = False
        bad = 0
        for question in FAST:
            error = self._ask(question, answers)
            if error is not None and error.gpu_lost:
                # The calls that are left would say the same, each after its own time.
                self._say_lost()
                return
            bad += error is not None and error.handle_bad
        self.handle_bad = bad > 0 and not answers.values

    def read_slow(self, now: float, every_s: float, watchers: Watchers) -> None:
        """Read what is read rarely. Raises DriverError where the session is over."""
        before, answers = self._driver.calls, Answers()
        self._ask_identity()
        was_divided = self._slow.values.get("mig_enabled")
        for question in SLOW:
            error = self._ask(question, answers)
            if error is not None and error.gpu_lost:
                self._say_lost()
                return
        try:
            self._read_users(answers, watchers)
        except DriverError as error:
            if not error.gpu_lost:
                raise
            self._say_lost()
            return
        if self._slow_read_s is not None and was_divided != answers.values.get("mig_enabled"):
            # A divided GPU does not tell what a whole one tells: ask for everything again.
            self._unsupported.clear()
        self._slow, self._slow_read_s = answers, now
        self.slow_due_s = now + every_s
        self.slow_calls = self._driver.calls - before

    def sample(self, trouble: Absence | None = None) -> GPUSample:
        """What was read, as a sample; with `trouble`, one in which all but the identity is absent."""
        lost = Absence.LOST if self.lost else None
        reason = trouble or (self.missing if self.handle is None else lost)
        identity = self._identity
        if reason is not None:
            absent = dict.fromkeys(_MEASURED, reason)
            return GPUSample(self.uuid, self.index, **identity.values, absent=identity.absent | absent)
        waiting = dict.fromkeys(_SLOW_FIELDS, Absence.STARTING) if self._slow_read_s is None else {}
        return GPUSample(
            self.uuid,
            self.index,
            slow_monotonic_s=self._slow_read_s,
            processes_left_out=self._processes_left_out,
            **(identity.values | self._fast.values | self._slow.values),
            absent=identity.absent | self._fast.absent | self._slow.absent | waiting,
        )

    def add_to_windows(self, sample: GPUSample) -> Statistics:
        """Take `sample` into the windows; what they say then."""
        utilization, memory, temperature, power = self._windows
        return Statistics(
            utilization.add(sample.utilization_percent),
            memory.add(sample.memory_used_bytes),
            temperature.add(sample.temperature_c),
            power.add(sample.power_w),
        )

    def _say_lost(self) -> None:
        self.lost = True
        # Should it come back, nothing of before is shown as if it were of then.
        self._forget_slow()

    def _ask_identity(self) -> None:
        """Ask what is not known yet; it never changes."""
        self._identity.absent = {}
        for question in IDENTITY:
            if not self._identity.values.keys() >= set(question.fields):
                self._ask(question, self._identity)

    def _ask(self, question: Question, answers: Answers) -> DriverError | None:
        """Ask one thing; an error becomes the reason why its fields are absent."""
        key = (question.call, question.fields, len(question.arguments))
        error = None
        if key not in self._unsupported:
            try:
                raw = self._driver.call(question.call, self.handle, *question.arguments)
            except DriverError as caught:
                if caught.session_over:
                    raise
                error = caught
            else:
                for name, value in zip(question.fields, question.convert(raw), strict=True):
                    if value is None:
                        answers.absent[name] = Absence.UNSUPPORTED
                    else:
                        answers.values[name] = value
                return None
        if error is None or error.for_good:
            self._unsupported.add(key)
            if question.instead is not None:
                return self._ask(question.instead, answers)
        absence = Absence.UNSUPPORTED if error is None else error.absence
        answers.absent |= dict.fromkeys(question.fields, absence)
        return error

    def _read_users(self, answers: Answers, watchers: Watchers) -> None:
        """The parts of the GPU and its processes; the latter part by part where not told as a whole."""
        parts: list[Handle] = []
        divided = answers.values.get("mig_enabled")
        if divided is None:
            answers.absent["mig_instances"] = answers.absent["mig_enabled"]
        else:
            try:
                instances = self._instances.read(self.handle) if divided else []
                parts = [handle for handle, _ in instances]
                answers.values["mig_instances"] = tuple(one for _, one in instances)
            except DriverError as error:
                _raise_if_vital(error)
                answers.absent["mig_instances"] = error.absence
        try:
            self._put_processes(answers, self._processes(parts, watchers))
        except DriverError as error:
            _raise_if_vital(error)
            answers.absent |= dict.fromkeys(_PROCESS_FIELDS, error.absence)

    def _processes(self, parts: list[Handle], watchers: Watchers) -> list[GPUProcess]:
        try:
            return processes_of(self._driver, self.handle, watchers)
        except DriverError as error:
            # The whole of a divided GPU is shown to administrators only, its parts to their users.
            if error.absence is not Absence.DENIED or not parts:
                raise
        return in_order(one for part in parts for one in processes_of(self._driver, part, watchers))

    def _put_processes(self, answers: Answers, processes: list[GPUProcess]) -> None:
        self._processes_left_out = max(0, len(processes) - MOST_PROCESSES)
        answers.values["processes"] = tuple(processes[:MOST_PROCESSES])
        for name, of_run in (("run_memory_used_bytes", True), ("others_memory_used_bytes", False)):
            amount = memory_of(processes, of_run=of_run)
            if amount is None:
                answers.absent[name] = Absence.UNSUPPORTED
            else:
                answers.values[name] = amount


def _raise_if_vital(error: DriverError) -> None:
    """Raise what is more than one field's trouble."""
    if error.session_over or error.gpu_lost:
        raise error
