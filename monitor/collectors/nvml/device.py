"""One GPU, over all sessions with the driver: the queries to it and its last answers."""

from pylon.monitor.collectors.gpu_figures import MEASURED_FIELDS, USER_FIELDS, Figures, put_users
from pylon.monitor.collectors.nvml.driver import Driver, DriverError, Handle
from pylon.monitor.collectors.nvml.fields import FAST, IDENTITY, SLOW, Query
from pylon.monitor.collectors.nvml.mig import InstanceReader
from pylon.monitor.collectors.nvml.processes import ProcessLookup, processes_of
from pylon.monitor.status import Absence, GPUProcess, GPUSample

# Calls of a slow reading before the first has been counted: SLOW and two lists of processes.
_USUAL_SLOW_CALLS = len(SLOW) + 4
_SLOW_FIELDS = MEASURED_FIELDS - {name for query in FAST for name in query.fields}


class Device:
    """A GPU. It stays in view, by its UUID, when it or the driver goes.

    Args:
        driver: the open session.
        uuid: identity.

    Attributes:
        uuid: identity.
        index: the driver's number for it in this session; None if the session does not have it.
        handle: the driver's handle for it in this session; None if there is none.
        missing: why there is none.
        slow_due_s: when its slow fields are to be read next.
        slow_calls: calls into the driver that reading them takes.
        lost: at the last tick the driver reported that the GPU is.
        handle_bad: all queries of the last tick failed as if the handle were not good any more.
    """

    def __init__(self, driver: Driver, uuid: str) -> None:
        self._driver = driver
        self.uuid = uuid
        self.index: int | None = None
        self.handle: Handle | None = None
        self.missing = Absence.LOST
        self.slow_due_s = float("-inf")
        self.slow_calls = _USUAL_SLOW_CALLS
        self.lost = False
        self.handle_bad = False
        self._identity = Figures()
        self._begin_session()

    def _begin_session(self) -> None:
        self._unsupported: set[tuple[str, tuple[str, ...], int]] = set()
        self._instances = InstanceReader(self._driver)
        self._fast = Figures()
        self.lost = self.handle_bad = False
        self._forget_slow()

    def _forget_slow(self) -> None:
        self._slow = Figures()
        self._slow_read_s: float | None = None
        self._processes_left_out = 0
        self.slow_due_s = float("-inf")

    def attach(self, index: int, handle: Handle) -> None:
        """The new session has this GPU under `index`. Raises DriverError if the session is over."""
        self.index, self.handle = index, handle
        self._begin_session()
        self._ask_identity()

    def detach(self, reason: Absence, index: int | None = None) -> None:
        """The driver has no handle for this GPU (any more)."""
        self.index, self.handle, self.missing = index, None, reason
        self._begin_session()

    @property
    def answering(self) -> bool:
        """Whether more queries at this tick make sense."""
        return self.handle is not None and not self.lost and not self.handle_bad

    def read_fast(self) -> None:
        """Read what is read at every tick. Raises DriverError if the session is over."""
        self._fast = answers = Figures()
        self.lost = self.handle_bad = False
        bad = 0
        for query in FAST:
            error = self._ask(query, answers)
            if error is not None and error.gpu_lost:
                # The calls that are left would fail likewise, each after its own time.
                self._become_lost()
                return
            bad += error is not None and error.handle_bad
        self.handle_bad = bad > 0 and not answers.values

    def read_slow(self, now: float, every_s: float, lookup: ProcessLookup) -> None:
        """Read what is read rarely. Raises DriverError if the session is over."""
        before, answers = self._driver.calls, Figures()
        self._ask_identity()
        was_divided = self._slow.values.get("mig_enabled")
        for query in SLOW:
            error = self._ask(query, answers)
            if error is not None and error.gpu_lost:
                self._become_lost()
                return
        try:
            self._read_users(answers, lookup)
        except DriverError as error:
            if not error.gpu_lost:
                raise
            self._become_lost()
            return
        if self._slow_read_s is not None and was_divided != answers.values.get("mig_enabled"):
            # A divided GPU lacks fields that a whole one has: ask for everything again.
            self._unsupported.clear()
        self._slow, self._slow_read_s = answers, now
        self.slow_due_s = now + every_s
        self.slow_calls = self._driver.calls - before

    def sample(self, trouble: Absence | None = None) -> GPUSample:
        """What was read, as a sample; with `trouble`, one that has the identity only."""
        lost = Absence.LOST if self.lost else None
        reason = trouble or (self.missing if self.handle is None else lost)
        identity = self._identity
        if reason is not None:
            absent = dict.fromkeys(MEASURED_FIELDS, reason)
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

    def _become_lost(self) -> None:
        self.lost = True
        # If it comes back, nothing of before is shown as if it were new.
        self._forget_slow()

    def _ask_identity(self) -> None:
        """Ask what is not known yet; it never changes."""
        self._identity.absent = {}
        for query in IDENTITY:
            if not self._identity.values.keys() >= set(query.fields):
                self._ask(query, self._identity)

    def _ask(self, query: Query, answers: Figures) -> DriverError | None:
        """Make one query; an error becomes the reason why its fields are absent."""
        key = (query.call, query.fields, len(query.arguments))
        error = None
        if key not in self._unsupported:
            try:
                values = query.ask(self._driver, self.handle)
            except DriverError as caught:
                if caught.session_over:
                    raise
                error = caught
            else:
                for name, value in zip(query.fields, values, strict=True):
                    answers.put(name, Absence.UNSUPPORTED if value is None else value)
                return None
        if error is None or error.for_good:
            self._unsupported.add(key)
            if query.instead is not None:
                return self._ask(query.instead, answers)
        absence = Absence.UNSUPPORTED if error is None else error.absence
        answers.absent |= dict.fromkeys(query.fields, absence)
        return error

    def _read_users(self, answers: Figures, lookup: ProcessLookup) -> None:
        """The parts of the GPU and its processes; the latter part by part if not listed as a whole."""
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
            self._processes_left_out = put_users(answers, self._processes(parts, lookup))
        except DriverError as error:
            _raise_if_vital(error)
            answers.absent |= dict.fromkeys(USER_FIELDS, error.absence)

    def _processes(self, parts: list[Handle], lookup: ProcessLookup) -> list[GPUProcess]:
        try:
            return processes_of(self._driver, self.handle, lookup)
        except DriverError as error:
            # The whole of a divided GPU is shown to administrators only, its parts to their users.
            if error.absence is not Absence.DENIED or not parts:
                raise
        return [one for part in parts for one in processes_of(self._driver, part, lookup)]


def _raise_if_vital(error: DriverError) -> None:
    """Raise an error that concerns more than one field."""
    if error.session_over or error.gpu_lost:
        raise error
