"""Starts training processes, each with a driver of its own, sends them commands, cleans up after them."""

import contextlib
import importlib.util
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.monitors.processes import MARK, marked
from benchmarks.monitors.subjects import GPUS, SUBJECTS
from tests.monitor.nvml_stand_in import StandIn

REPOSITORY = Path(__file__).resolve().parents[2]
_ANSWER_WITHIN_S = 60.0
_PREPARED = "prepared"


class SilentError(Exception):
    """A training process gave no answer in time, or has ended."""


@dataclass(frozen=True, slots=True)
class End:
    """How a training process ended.

    Attributes:
        exit_code: None where it did not end in time.
        at_s: when, in monotonic seconds.
    """

    exit_code: int | None
    at_s: float


class Trainee:
    """A running `benchmarks.monitors.trainee` in a `folder` of its own.

    Args:
        subject: a name in SUBJECTS.
        folder: of the whole benchmark; this process gets an empty one in it.
        behaviour: control lines of its NVML stand-in, in addition to the number of GPUs.
    """

    def __init__(self, subject: str, folder: Path, *behaviour: str) -> None:
        self.subject = subject
        self._mark = uuid.uuid4().hex
        self.folder = folder / self._mark
        self.folder.mkdir()
        prepared = folder / _PREPARED / subject
        if prepared.exists():
            shutil.copytree(prepared, self.folder, dirs_exist_ok=True)
        self._stand_in = StandIn(self.folder)
        self.driver(*behaviour)
        self._errors = self.folder / "stderr.txt"
        self._unread = b""

    def __enter__(self) -> Self:
        """Started."""
        environment = {
            **os.environ,
            **SUBJECTS[self.subject].environment,
            **self._stand_in.environment,
            MARK: self._mark,
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(self.folder),
            # A step is one thread's work, or its time would depend more on other loads than on monitors.
            "OPENBLAS_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.monitors.trainee", self.subject],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self._process_file = os.pidfd_open(self._process.pid)
        return self

    def __exit__(self, *_: object) -> None:
        """Everything of it ended, its folder removed."""
        for pid in self.left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait(10)
        os.close(self._process_file)
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                pipe.close()  # type: ignore[union-attr]
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """What it and its children have printed."""
        return self._errors.read_text(errors="replace")

    def driver(self, *behaviour: str) -> None:
        """Change what its driver does."""
        self._stand_in.behave(f"gpus {GPUS}", *behaviour)

    def ask(self, command: str, within_s: float = _ANSWER_WITHIN_S) -> dict[str, Any]:
        """Give a command and wait for the answer.

        Raises:
            SilentError: there is none.
        """
        self.send(command)
        return self.answer(within_s)

    def send(self, command: str) -> None:
        """Give a command."""
        try:
            self._process.stdin.write(f"{command}\n".encode())  # type: ignore[union-attr]
            self._process.stdin.flush()  # type: ignore[union-attr]
        except BrokenPipeError as error:
            raise SilentError(f"{self.subject}: has ended") from error

    def answer(self, within_s: float = _ANSWER_WITHIN_S) -> dict[str, Any]:
        """The next answer. Raises SilentError where there is none."""
        until_s = time.monotonic() + within_s
        output = self._process.stdout.fileno()  # type: ignore[union-attr]
        while b"\n" not in self._unread:
            left_s = until_s - time.monotonic()
            if left_s <= 0 or not select.select([output], [], [], left_s)[0]:
                raise SilentError(f"{self.subject}: no answer within {within_s:g} s; {self.stderr[-2000:]}")
            piece = os.read(output, 65536)
            if not piece:
                raise SilentError(f"{self.subject}: has ended; {self.stderr[-2000:]}")
            self._unread += piece
        line, self._unread = self._unread.split(b"\n", 1)
        content: dict[str, Any] = json.loads(line)
        return content

    def begin(self) -> None:
        """Import, start, and wait for the first values."""
        for command in ("load", "start", "first"):
            self.ask(command)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self, within_s: float) -> End:
        """Wait for its end; to the millisecond, where Popen.wait looks every 50."""
        ready = select.select([self._process_file], [], [], within_s)[0]
        at_s = time.monotonic()
        return End(self._process.wait() if ready else None, at_s)

    def left_over(self) -> list[int]:
        """Processes that it has brought into being and that still run, itself left out."""
        return marked(self._mark, self.pid)


def available(subject: str) -> bool:
    """Whether the libraries of a subject are installed."""
    return all(importlib.util.find_spec(module) for module in SUBJECTS[subject].modules)


def prepare(subject: str, folder: Path) -> None:
    """Make, once for all processes of a subject, what a user has from former runs: a data base."""
    kept = folder / _PREPARED / subject
    kept.mkdir(parents=True)
    with Trainee(subject, folder) as trainee:
        for command in ("load", "prepare", "leave"):
            trainee.ask(command)
        trainee.end(_ANSWER_WITHIN_S)
        for path in trainee.folder.glob("*.db"):
            shutil.copy(path, kept)
