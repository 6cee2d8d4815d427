"""A program in the place of a TCP connection.

paramiko's own ProxyCommand leaves the program and three pipes behind (paramiko#2568, #1713), reads
without end when it dies (#995), and its standard error fills up. Here the program gets one end of a
pair of sockets, and a session of its own, so that all it starts can be ended with it.
"""

import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress

from pylon.monitor.ssh.errors import ProxyError
from pylon.monitor.ssh.texts import printable

_KEPT_BYTES = 2000
_GRACE_S = 0.2
_KILL_WAIT_S = 0.3


class ProxyCommand:
    """A running program.

    Args:
        server: for errors.
        command: goes to the user's shell, as `ssh` does it.

    Attributes:
        end: our end of it; the caller closes it.

    Raises:
        ProxyError: it cannot be started.
    """

    def __init__(self, server: str, command: str) -> None:
        self._server = server
        self._words = b""
        self._reading = threading.Lock()
        self.end, theirs = socket.socketpair()
        self._errors, errors_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        os.set_blocking(errors_end, True)
        shell = os.environ.get("SHELL") or "/bin/sh"
        try:
            self._process = subprocess.Popen(
                [shell, "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=errors_end,
                # Ctrl-C at our terminal is not for it, and it cannot ask for a password there.
                start_new_session=True,
                env={**os.environ, "SSH_ASKPASS_REQUIRE": "never"},
            )
        except OSError as error:
            self.end.close()
            os.close(self._errors)
            raise ProxyError(f"{server}: the shell {shell} for its ProxyCommand: {error}.") from error
        finally:
            theirs.close()
            os.close(errors_end)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def fileno(self) -> int:
        """Where its standard error can be read: a wait for its output is a wait for that too."""
        return self._errors

    def tidy(self) -> bool:
        """Take what it wrote to its standard error, so that it never waits for that; False at its end."""
        try:
            with self._reading:
                while chunk := os.read(self._errors, 65536):
                    self._words = (self._words + chunk)[-_KEPT_BYTES:]
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def failure(self) -> ProxyError | None:
        """Its end, in its own words; None: it is still running."""
        ended = self._ended_within(_GRACE_S)
        if ended is None:
            return None
        self.tidy()
        words = printable(self._words)
        return ProxyError(
            f"{self._server}: its ProxyCommand ended with status {ended}{f': {words}' if words else ''}."
        )

    def close(self) -> None:
        """End it and all that it started, within half a second."""
        if self._errors < 0:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGTERM)
        self._ended_within(_GRACE_S)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_KILL_WAIT_S)
        os.close(self._errors)
        self._errors = -1

    def _ended_within(self, seconds: float) -> int | None:
        """Its status, or the signal that ended it; None: it runs on.

        It is not waited for yet: until then no other process can get its number, or its group's.
        """
        until_s = time.monotonic() + seconds
        while True:
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                return int(found.si_status)
            if time.monotonic() >= until_s:
                return None
            time.sleep(0.005)
