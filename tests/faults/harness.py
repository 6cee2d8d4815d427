"""Start a training process, hurt it or its monitors, and see what is left."""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

REPOSITORY = Path(__file__).resolve().parents[2]
_MARK = "PYLON_TEST_MARK"


@dataclass
class Trainer:
    """A running `tests.faults.trainer`.

    Attributes:
        folder: holds its record and what it writes to standard error.
        environment: added to its environment.
        arguments: its command line.
    """

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()
    module: str = "tests.faults.trainer"

    def __enter__(self) -> Self:
        self.mark = uuid.uuid4().hex
        self.record = self.folder / "record.json"
        self.stderr = self.folder / "stderr.txt"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", self.module, "--record", str(self.record), *self.arguments],
                cwd=REPOSITORY,
                env={**os.environ, **self.environment, _MARK: self.mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self._unread = b""
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, event: str, timeout_s: float = 20.0) -> dict[str, Any]:
        """The next line about `event`. Raises AssertionError where none comes in time."""
        assert self.process.stdout is not None
        until = time.monotonic() + timeout_s
        while time.monotonic() < until:
            while b"\n" in self._unread:
                line, self._unread = self._unread.split(b"\n", 1)
                if not line.startswith(b"{"):
                    # What a monitor under test prints among the events.
                    continue
                content: dict[str, Any] = json.loads(line)
                if content["event"] == event:
                    return content
            ready, _, _ = select.select([self.process.stdout], [], [], 0.1)
            if ready:
                piece = os.read(self.process.stdout.fileno(), 65536)
                if not piece:
                    break
                self._unread += piece
        raise AssertionError(f"no {event!r} within {timeout_s} s; standard error: {self.stderr.read_text()}")

    def end(self) -> None:
        """Have the training loop finish."""
        (self.folder / "end").touch()

    def exit_code(self, timeout_s: float = 20.0) -> int:
        """Wait for the process to end."""
        return self.process.wait(timeout_s)

    def left_over(self, name: str | None = None) -> list[int]:
        """Processes that this training process brought into being and that still run, itself left out.

        Args:
            name: only those that `ps` shows under this name.
        """
        return [
            pid
            for pid in marked(self.mark)
            if pid != self.process.pid and (name is None or _name(pid) == name)
        ]

    def left_over_after(self, grace_s: float = 2.0) -> list[str]:
        """Command names of what still runs after `grace_s`."""
        until = time.monotonic() + grace_s
        while (pids := self.left_over()) and time.monotonic() < until:
            time.sleep(0.02)
        return [f"{pid} {_command(pid)}" for pid in pids]


def marked(mark: str) -> Iterator[int]:
    """Living processes whose environment carries `mark`: children inherit it, whoever adopts them."""
    wanted = f"{_MARK}={mark}".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[-120:]
    except OSError:
        return "(gone)"


def wait_until(condition: Any, timeout_s: float, what: str) -> None:
    """Poll until `condition()` holds. Raises AssertionError naming `what` where it does not in time."""
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, f"not within {timeout_s} s: {what}"
        time.sleep(0.02)


_LATE = re.compile(r"^monitor \w+: (?:stale: no reading has succeeded lately|ok)\n", re.MULTILINE)


def without_late_readings(printed: str) -> str:
    """What a program printed, less what the monitors log where a loaded machine lets a reading come late."""
    return _LATE.sub("", printed)
