"""Each measured process on a terminal of its own, as a user has it: progress bars are drawn, by everybody."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

REPOSITORY = Path(__file__).resolve().parents[2]

_ROWS, _COLUMNS = 40, 140
_TIME_OUT_S = 300
# Enough of the end to hold a traceback.
_KEPT_CHUNKS = 64


class FailedProcessError(Exception):
    """A measured process ended in another way than it should; holds the end of what it showed."""


class Launched:
    """`python ARGUMENTS` in the repository, on a new pseudo-terminal; killed at the end of the block.

    Args:
        arguments: of the interpreter.
        environment: added to the inherited one.
        threads: of torch's operations.
    """

    def __init__(self, arguments: Sequence[str], environment: Mapping[str, str], *, threads: int) -> None:
        self._arguments = arguments
        self._near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
        fixed = {"TERM": "xterm-256color", "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=REPOSITORY,
            env={**os.environ, **fixed, **environment},
            stdin=subprocess.DEVNULL,
            stdout=far,
            stderr=far,
        )
        os.close(far)
        self._shown: deque[bytes] = deque(maxlen=_KEPT_CHUNKS)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """The process."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it, if it has not ended."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._reader.join(1)
        os.close(self._near)

    def ended(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self, expected: int = 0) -> None:
        """Wait for its end.

        Raises:
            FailedProcessError: another exit code than `expected`, or no end within five minutes.
        """
        try:
            code = self._process.wait(_TIME_OUT_S)
        except subprocess.TimeoutExpired as error:
            raise FailedProcessError(f"does not end: {self.description()}") from error
        self._reader.join(1)
        if code != expected:
            raise FailedProcessError(f"expected exit code {expected}: {self.description()}")

    def description(self) -> str:
        """The command, whether it has ended, and the end of what it showed."""
        text = b"".join(self._shown).decode(errors="replace")
        code = self._process.poll()
        state = "still runs" if code is None else f"ended with exit code {code}"
        return f"`python {' '.join(self._arguments)}` {state}\n{text[-4000:]}"

    def _read(self) -> None:
        while True:
            try:
                chunk = os.read(self._near, 65536)
            except OSError:  # the last process has closed the terminal
                return
            if not chunk:
                return
            self._shown.append(chunk)


def run_on_terminal(
    arguments: Sequence[str], environment: Mapping[str, str], *, threads: int, expected: int = 0
) -> None:
    """Run a process to its end, see Launched. Raises FailedProcessError where its exit code is another."""
    with Launched(arguments, environment, threads=threads) as process:
        process.wait(expected)


def write_config(path: Path, expression: str, work_dir: Path) -> None:
    """Write a configuration file.

    Args:
        path: of the file.
        expression: gives the configuration, with everything of `workloads` at hand.
        work_dir: the run's directory.
    """
    path.write_text(
        "from pathlib import Path\n\n"
        "from benchmarks.training.workloads import *  # noqa: F403\n\n"
        f'config = {{**{expression}, "work_dir": {str(work_dir)!r}}}\n',
        encoding="utf-8",
    )
