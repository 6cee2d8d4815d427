"""The host as the training process holds it: started, heard, and ended with all that it has started."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from monitor.process.messages import STOP, FrameReader, HealthReport, HostSpec, encode

_BOOT = "import sys; sys.path[:] = {path!r}; from monitor.process.host import main; main({health}, {data})"
_PACKAGE_ROOT = str(Path(__file__).resolve().parents[2])
# From here on `stop` ends with force what has not ended by itself, within the grace of 0.5 s.
_FORCE_AFTER_S = 0.1
_REAP_WITHIN_S = 0.2
# A worker that holds a driver ends by itself within a second of its host's death.
_WORKERS_GRACE_S = 1.3
_LOOK_EVERY_S = 0.005

logger = logging.getLogger("monitor")


class HostProcess:
    """A running host. It leads a process group of its own, in which all that it starts stays.

    So Ctrl-C of a terminal, which goes to the foreground group, reaches none of them.

    Args:
        spec: what it shall run.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, spec: HostSpec) -> None:
        with contextlib.ExitStack() as stack:
            health, data = _pipe(stack), _pipe(stack)
            try:
                self._process = _launch(health[1], data[1])
            finally:
                for writing_end in (health[1], data[1]):
                    os.close(writing_end)
            self._descriptors = stack.pop_all()
        self.health = FrameReader(health[0])
        self.data = FrameReader(data[0])
        self.ask_bytes(encode(spec))

    @property
    def pid(self) -> int:
        """Process id, and that of the group."""
        return self._process.pid

    @property
    def descriptors(self) -> tuple[int, int]:
        """What becomes readable when it has something to say, or ends."""
        return self.health.descriptor, self.data.descriptor

    def ask(self, request: int) -> None:
        """Write one request into its lifeline."""
        self.ask_bytes(bytes([request]))

    def ask_bytes(self, content: bytes) -> None:
        """Write into its lifeline; a host that has ended does not mind."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        with contextlib.suppress(OSError):
            self._process.stdin.write(content)
            self._process.stdin.flush()

    def how_it_ended(self) -> str | None:
        """Exit code or signal; None while it runs, or where somebody else has waited for it."""
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

    def kill(self) -> None:
        """SIGKILL to the host alone; its children notice."""
        # Not Popen.kill, which waits for the process if it can, and so gives its id away.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def end_in_order(self, join_timeout_s: float) -> None:
        """Ask it to end everything, wait, then end it and its group by force."""
        # A byte, not only the end of the pipe: a forked loader worker may hold a copy of it.
        self.ask(STOP)
        self._close_lifeline()
        deadline_s = time.monotonic() + join_timeout_s + _FORCE_AFTER_S
        if not self._ended_by(deadline_s):
            self._end_by_force(time.sleep, _FORCE_AFTER_S)
        self._tell_of_left_behind()
        self._descriptors.close()
        self._reap_adopted()

    def end_now(self, wait: Callable[[float], object]) -> None:
        """End what is left of a host that has failed.

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
            logger.error("monitor: host process %d cannot be killed; it is left behind", self.pid)
            # Popen would warn of it at the end of the interpreter.
            self._process.returncode = -signal.SIGKILL

    def _ended_by(self, deadline_s: float) -> bool:
        try:
            self._process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    def _signal_group(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _tell_of_left_behind(self) -> None:
        with contextlib.suppress(EOFError):
            for report in self.health.read():
                left = report.left_behind if isinstance(report, HealthReport) else {}
                for name, pid in left.items():
                    logger.error("monitor: %s (process %d) cannot be killed; it is left behind", name, pid)

    def _reap_adopted(self) -> None:
        """Where this process is PID 1 or a subreaper, the host's orphans have become its children."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass

    def _close_lifeline(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _pipe(stack: contextlib.ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    stack.callback(os.close, reading)
    return reading, writing


def _launch(health: int, data: int) -> "subprocess.Popen[bytes]":
    path = [_PACKAGE_ROOT, *(entry or str(Path.cwd()) for entry in sys.path)]
    boot = _BOOT.format(path=list(dict.fromkeys(path)), health=health, data=data)
    # -S and -I: neither site nor the user's Python settings run in the host; it gets our path as it is.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", boot],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=(health, data),
        process_group=0,
    )
