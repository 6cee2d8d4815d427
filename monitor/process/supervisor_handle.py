"""The supervisor as the training process holds it: started, heard, and ended with all that it has started."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pylon.monitor.process.error_output import ErrorOutput
from pylon.monitor.process.messages import (
    COMPANION_DESCRIPTOR,
    DATA_DESCRIPTOR,
    HEALTH_DESCRIPTOR,
    LEAVE,
    STOP,
    FrameReader,
    HealthReport,
    SupervisorSpec,
    encode,
)
from pylon.monitor.process.pipes import PipeEnd

_BOOT = (
    "import sys; sys.path[:] = {path!r}; "
    "from pylon.monitor.process.supervisor import main; main({parent}, {given})"
)
_PACKAGE_ROOT = str(Path(__file__).absolute().parents[3])
# From here on `stop` ends with force what has not ended by itself, within the grace of 0.5 s.
_FORCE_AFTER_S = 0.1
_REAP_WITHIN_S = 0.2
# A worker that holds a driver ends by itself within a second of its supervisor's death.
_WORKERS_GRACE_S = 1.3
_LOOK_EVERY_S = 0.005

logger = logging.getLogger("pylon.monitor")


class SupervisorHandle:
    """A running supervisor. It leads a process group of its own, in which all that it starts stays.

    So Ctrl-C of a terminal, which goes to the foreground group, reaches none of them.

    Args:
        spec: what it shall run.
        companion: descriptor for the spec's companion; None without one.

    Attributes:
        pid: process id, and that of the group.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, spec: SupervisorSpec, companion: int | None = None) -> None:
        with contextlib.ExitStack() as stack:
            # What the supervisor uses is closed here in any case, what we use only where it does not start.
            with contextlib.ExitStack() as of_supervisor:
                lifeline = _pipe(of_supervisor, stack)
                health, data = _pipe(stack, of_supervisor), _pipe(stack, of_supervisor)
                self._error_output = _error_output(stack)
                ends = (lifeline[0].number, health[1].number, data[1].number)
                self.pid = _launch(ends, self._error_output, companion)
            self._descriptors = stack.pop_all()
        self._reaped = False
        self._lifeline = lifeline[1]
        self.health = FrameReader(health[0].number)
        self.data = FrameReader(data[0].number)
        self.ask_bytes(encode(spec))

    @property
    def descriptors(self) -> tuple[int, int]:
        """What becomes readable when it has something to report, or ends."""
        return self.health.descriptor, self.data.descriptor

    def ask(self, request: int) -> None:
        """Write one request into its lifeline."""
        self.ask_bytes(bytes([request]))

    def ask_bytes(self, content: bytes) -> None:
        """Write into its lifeline; a supervisor that has ended does not mind."""
        with contextlib.suppress(OSError):
            while content:
                content = content[os.write(self._lifeline.checked(), content) :]

    def how_it_ended(self) -> str | None:
        """Exit code or signal; None while it runs, or if other code has waited for it."""
        # It stays a zombie: as long as it does, no stranger gets its process id, which is the group's.
        until_s = time.monotonic() + _FORCE_AFTER_S
        while time.monotonic() < until_s:
            try:
                ended = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG)
            except ChildProcessError:
                return None
            if ended is not None:
                code = ended.si_status
                return f"with exit code {code}" if ended.si_code == os.CLD_EXITED else f"by signal {code}"
            # Its pipes close a moment before it can be waited for.
            time.sleep(_LOOK_EVERY_S)
        return None

    def error_output(self) -> str:
        """What it has written to its standard error: nothing, unless it fails."""
        return "" if self._error_output is None else self._error_output.text()

    def kill(self) -> None:
        """SIGKILL to the supervisor alone; its children notice."""
        if not self._reaped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def end_in_order(self, join_timeout_s: float, *, leave_companion: bool = False) -> None:
        """Ask it to end everything, wait, then end it and its group by force.

        Args:
            join_timeout_s: what it gets for that.
            leave_companion: let the companion go on until it has seen the end of this process.
        """
        # A byte, not only the end of the pipe: a forked loader worker may hold a copy of it.
        self.ask(LEAVE if leave_companion else STOP)
        self._close_lifeline()
        deadline_s = time.monotonic() + join_timeout_s + _FORCE_AFTER_S
        if not self._ended_by(deadline_s):
            self._end_by_force(time.sleep, _FORCE_AFTER_S)
        self._tell_of_left_behind()
        self._descriptors.close()
        if not leave_companion:
            self._reap_adopted()

    def end_now(self, wait: Callable[[float], object]) -> None:
        """End what is left of a supervisor that has failed.

        Args:
            wait: waits so many seconds, or less where a stop is asked for meanwhile.
        """
        self._close_lifeline()
        self._end_by_force(wait, _WORKERS_GRACE_S)
        self._descriptors.close()
        self._reap_adopted()

    def _end_by_force(self, wait: Callable[[float], object], grace_s: float) -> None:
        self.kill()
        # Its children get SIGTERM or SIGKILL from the kernel now; one that is stopped takes neither.
        self._signal_group(signal.SIGTERM)
        wait(grace_s)
        self._signal_group(signal.SIGKILL)
        if not self._ended_by(time.monotonic() + _REAP_WITHIN_S):
            logger.error(
                "monitor: the supervisor (process %d) cannot be killed; it is left running", self.pid
            )

    def _ended_by(self, deadline_s: float) -> bool:
        while not self._reaped:
            try:
                self._reaped = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:
                # The kernel reaps where SIGCHLD is ignored, and a run may wait for any child of its own.
                self._reaped = True
            if not self._reaped:
                if time.monotonic() > deadline_s:
                    return False
                time.sleep(_LOOK_EVERY_S)
        return True

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _tell_of_left_behind(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            for report in self.health.read():
                left = report.left_behind if isinstance(report, HealthReport) else {}
                for name, pid in left.items():
                    logger.error("monitor: %s (process %d) cannot be killed; it is left running", name, pid)

    def _reap_adopted(self) -> None:
        """Where this process is PID 1 or a subreaper, the supervisor's orphans have become its children."""
        until_s = time.monotonic() + _REAP_WITHIN_S
        with contextlib.suppress(ChildProcessError):
            # One that SIGKILL has just hit takes a moment to end.
            while os.waitpid(-self.pid, os.WNOHANG)[0] or time.monotonic() < until_s:
                time.sleep(_LOOK_EVERY_S)

    def _close_lifeline(self) -> None:
        self._lifeline.close()


def _pipe(reader: contextlib.ExitStack, writer: contextlib.ExitStack) -> tuple[PipeEnd, PipeEnd]:
    ends = PipeEnd.pair()
    for stack, end in zip((reader, writer), ends, strict=True):
        stack.callback(end.close)
    return ends


def _error_output(stack: contextlib.ExitStack) -> ErrorOutput | None:
    try:
        output = ErrorOutput()
    except (OSError, AttributeError):
        # A sandbox without memory files: a failed start stays unexplained.
        return None
    stack.callback(output.close)
    return output


def _launch(ends: tuple[int, int, int], errors: ErrorOutput | None, companion: int | None) -> int:
    """Start a supervisor with these descriptors; its process id. The ends: lifeline, health and data."""
    lifeline, health, data = ends
    given = COMPANION_DESCRIPTOR + (companion is not None)
    boot = _BOOT.format(path=_search_path(), parent=os.getpid(), given=given)
    of_companion = [] if companion is None else [(os.POSIX_SPAWN_DUP2, companion, COMPANION_DESCRIPTOR)]
    # Not subprocess: it waits for a pipe of its own to close, and a process that another thread forks
    # in that moment, such as a loader worker, keeps it open for all its life.
    python = interpreter()
    return os.posix_spawn(
        python,
        # -S and -I: neither site nor the user's Python settings run in the supervisor; it gets our path.
        [python, "-I", "-S", "-c", boot],
        environment(),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lifeline, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_RDWR, 0),
            (os.POSIX_SPAWN_DUP2, 1 if errors is None else errors.number, 2),
            (os.POSIX_SPAWN_DUP2, health, HEALTH_DESCRIPTOR),
            (os.POSIX_SPAWN_DUP2, data, DATA_DESCRIPTOR),
            *of_companion,
        ],
        setpgroup=0,
        # A run may ignore or block what the supervisor must hear: the end of its children, and SIGTERM.
        setsigmask=(),
        setsigdef=(signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ),
    )


def interpreter() -> str:
    """The program that runs Python code.

    In a program that Python is embedded in (uWSGI, frozen applications) `sys.executable` is that program, or
    nothing: started for a child, it would begin again.

    Raises:
        FileNotFoundError: none is found.
    """
    from multiprocessing import spawn  # noqa: PLC0415 - of no use in a run that is not watched

    named = os.fsdecode(spawn.get_executable() or "")
    is_python = any(one in Path(named).name.lower() for one in ("python", "pypy"))
    if named and (is_python or named != sys.executable):
        return named
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    places = dict.fromkeys(Path(prefix) / "bin" / name for prefix in (sys.prefix, sys.base_prefix))
    found = next((place for place in places if os.access(place, os.X_OK)), None)
    if found is None:
        raise FileNotFoundError(
            f"no Python interpreter to start processes with: sys.executable is {sys.executable!r}, and there"
            f" is no {' or '.join(map(str, places))}. Name one by multiprocessing.set_executable."
        )
    return str(found)


def environment() -> dict[str, str]:
    """A copy of the environment. If another thread changes it, the copy of a whole mapping may fail."""
    found = {name: os.environ.get(name) for name in list(os.environ)}
    return {name: value for name, value in found.items() if value is not None}


def _search_path() -> list[str]:
    """The run's own, so that its modules are found as it finds them; Pylon's folder last, if it is absent."""
    entries = [*(entry or _here() for entry in sys.path if isinstance(entry, str)), _PACKAGE_ROOT]
    return [entry for entry in dict.fromkeys(entries) if entry]


def _here() -> str:
    try:
        return str(Path.cwd())
    except OSError:
        # It was removed.
        return ""
