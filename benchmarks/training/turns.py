"""Processes that train in turns of about a second: what slows the machine down hits all of them.

A trainee connects to its socket, reports that it waits, and continues on request. What a trainee does
by the clock, such as drawing its display, comes due while it waits, and so counts somewhat more than it
does in a run of its own.
"""

import os
import socket
import time
from pathlib import Path
from typing import Self

from benchmarks.training.launching import FailedProcessError, Launched

TURNS = "PYLON_BENCHMARK_TURNS"

_WAITS, _GO = b"w", b"g"
_TIME_OUT_S = 300.0


class Trainee:
    """The waiting side, in the process that trains: connects to the socket of $PYLON_BENCHMARK_TURNS."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(os.environ[TURNS])

    def wait(self) -> None:
        """Report that this process waits, and return when it is asked to continue.

        Raises:
            ConnectionError: the benchmark itself has ended.
        """
        self._socket.sendall(_WAITS)
        if self._socket.recv(1) != _GO:
            raise ConnectionError("the benchmark that gives the turns is gone")


class Turns:
    """The side that gives the turns to one trainee.

    Args:
        path: of the socket, short enough for one.
    """

    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._listener.settimeout(0.2)
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        """The side itself; it hangs up at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up: a trainee that still waits ends."""
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def until_it_waits(self, process: Launched) -> None:
        """Return when the trainee waits for its next turn.

        Raises:
            FailedProcessError: it has ended, or does not come to that point within five minutes.
        """
        end_s = time.monotonic() + _TIME_OUT_S
        while not self._waits():
            if process.ended() or time.monotonic() > end_s:
                raise FailedProcessError(f"did not come to the end of its turn: {process.description()}")

    def go(self) -> None:
        """Let it train until it waits again."""
        if self._connection is not None:
            self._connection.sendall(_GO)

    def _waits(self) -> bool:
        try:
            if self._connection is None:
                self._connection, _ = self._listener.accept()
                self._connection.settimeout(0.2)
            return self._connection.recv(1) == _WAITS
        except TimeoutError:
            return False
