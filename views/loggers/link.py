"""The sender's side of a logger's process: each answer has a deadline, and the process can be killed."""

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pylon
from pylon.storage import PlantedError, open_unlinked
from pylon.views.loggers.contract import Entry, Run
from pylon.views.loggers.position import plain_of

_END_WITHIN_S = 5.0


class LinkError(Exception):
    """The logger's process failed, gave no answer in time, or is gone.

    Attributes:
        permanent: another try would end in the same way.
    """

    def __init__(self, text: str, *, permanent: bool = False) -> None:
        super().__init__(text)
        self.permanent = permanent


class Link(Protocol):
    """Where entries go; each call raises LinkError."""

    def open(self, run: Run, kept: dict[str, Any]) -> dict[str, Any]:
        """Begin or continue; returns what is to be kept."""

    def send(self, entries: Sequence[Entry], *, again: bool) -> dict[str, Any]:
        """Send entries, `again` if they may have been sent in part; returns what is to be kept."""

    def close(self) -> dict[str, Any]:
        """End in order; returns what is to be kept."""

    def kill(self) -> None:
        """End at once, in any state."""


class ProcessLink:
    """A logger in a process of its own.

    Args:
        name: of the logger's class, 'module:Name'.
        arguments: of its constructor.
        log: file for what the library prints.
        within_s: the longest wait for an answer.
        open_within_s: for the first one: a store may be migrated, and is damaged if that is cut off.
    """

    def __init__(
        self, name: str, arguments: dict[str, Any], log: Path, within_s: float, open_within_s: float
    ) -> None:
        self._name = name
        self._arguments = arguments
        self._within_s = within_s
        self._open_within_s = open_within_s
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""

    def open(self, run: Run, kept: dict[str, Any]) -> dict[str, Any]:
        """See Link."""
        try:
            flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
            with os.fdopen(open_unlinked(self._log, flags), "ab") as log:
                # A session of its own: what the library has started is ended with it.
                self._process = subprocess.Popen(
                    python("pylon.views.loggers.worker"),
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                    bufsize=0,
                )
        except (OSError, PlantedError) as error:
            raise LinkError(f"no process can be started: {error}") from error
        shown = {**dataclasses.asdict(run), "folder": str(run.folder)}
        request = {"class": self._name, "args": self._arguments, "run": shown, "kept": kept}
        return self._asked(request, self._open_within_s)

    def send(self, entries: Sequence[Entry], *, again: bool) -> dict[str, Any]:
        """See Link."""
        return self._asked({"entries": list(map(plain_of, entries)), "again": again}, self._within_s)

    def close(self) -> dict[str, Any]:
        """See Link."""
        process = self._running()
        _pipe(process.stdin).close()
        kept = self._answer(process, self._within_s)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_WITHIN_S)
        self.kill()
        return kept

    def kill(self) -> None:
        """See Link."""
        process, self._process, self._read = self._process, None, b""
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                _pipe(pipe).close()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise LinkError("its process is not running")
        return self._process

    def _asked(self, request: dict[str, Any], within_s: float) -> dict[str, Any]:
        process = self._running()
        self._write(process, json.dumps(request).encode() + b"\n", within_s)
        return self._answer(process, within_s)

    def _write(self, process: subprocess.Popen[bytes], content: bytes, within_s: float) -> None:
        until_s = time.monotonic() + within_s
        descriptor = _pipe(process.stdin).fileno()
        os.set_blocking(descriptor, False)
        while content:
            _, ready, _ = select.select([], [descriptor], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                raise LinkError(f"takes nothing for {within_s:.0f} s")
            try:
                content = content[os.write(descriptor, content) :]
            except BrokenPipeError:
                return  # its last answer has the reason

    def _answer(self, process: subprocess.Popen[bytes], within_s: float) -> dict[str, Any]:
        until_s = time.monotonic() + within_s
        descriptor = _pipe(process.stdout).fileno()
        while b"\n" not in self._read:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, until_s - time.monotonic()))
            if not ready:
                raise LinkError(f"gives no answer for {within_s:.0f} s")
            more = os.read(descriptor, 65536)
            if not more:
                raise LinkError(f"its process has ended; {self._log} may have the reason")
            self._read += more
        line, _, self._read = self._read.partition(b"\n")
        answer = json.loads(line)
        if "error" in answer:
            raise LinkError(answer["error"], permanent=answer["permanent"])
        kept: dict[str, Any] = answer["kept"]
        return kept


def python(module: str) -> list[str]:
    """The command that runs a module, with the path of this program: the working folder is no part of it."""
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """This program's environment, in which a program finds this copy of Pylon."""
    others = os.environ.get("PYTHONPATH")
    place = str(Path(pylon.__file__).parent.parent)
    return {**os.environ, "PYTHONPATH": f"{place}{os.pathsep}{others}" if others else place}


def _pipe(pipe: Any) -> Any:  # noqa: ANN401 - as subprocess declares it
    """The pipe, which was asked for."""
    if pipe is None:
        raise LinkError("its process has no pipe")
    return pipe
