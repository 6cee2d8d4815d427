"""Launches of the command that a script kills: one process, or the ranks of a run as torchrun keeps them."""

import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Protocol

from tests.runners.distributed.ranks import Ranks

# torchrun's: time between asking the ranks that are left to end, and killing them.
_AGENT_WAITS_S = 30.0
_SHOWN_CHARACTERS = 2000


class Launch(Protocol):
    """A run of the command."""

    def join(self, timeout_s: float) -> list[int] | None:
        """Wait for its end; the exit code of each process, None where it goes on."""

    def strike(self, number: signal.Signals) -> None:
        """Send a signal to one of its processes."""

    def kill(self) -> None:
        """Leave nothing of it running."""


class OneProcess:
    """The command in a process of its own.

    A fork with torch already imported: a kill a second instead of one in five. Nothing of the former one's
    memory is in it. It may use a GPU as long as the process that forks has not.

    Args:
        config: the configuration file.
        device: of the run.
    """

    def __init__(self, config: Path, device: str = "cpu") -> None:
        self._process = multiprocessing.get_context("fork").Process(target=_train, args=(config, device))
        with warnings.catch_warnings():
            # From Python 3.12 on, a fork next to any other thread warns. The run takes none of its locks.
            warnings.filterwarnings("ignore", message=".*fork.*may lead to deadlocks")
            self._process.start()

    def join(self, timeout_s: float) -> list[int] | None:
        self._process.join(timeout_s)
        return None if self._process.exitcode is None else [self._process.exitcode]

    def strike(self, number: signal.Signals) -> None:
        os.kill(self._process.pid or 0, number)

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


class ManyRanks:
    """The ranks of a run, of which one is struck; once one has failed, the others are ended.

    Args:
        config: the configuration file.
        count: how many.
        choice: chooses the one.
        device: of each: cpu, or cuda, of which each takes the GPU of its number.
    """

    def __init__(self, config: Path, count: int, choice: random.Random, device: str = "cpu") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pylon-ranks-")
        self._ranks = Ranks(count, config, Path(self._folder.name), "--device", device)
        self._choice = choice
        self._asked_s: float | None = None

    def join(self, timeout_s: float) -> list[int] | None:
        until = time.monotonic() + timeout_s
        while (codes := self._codes()) is None and time.monotonic() < until:
            self._act_as_torchrun()
            time.sleep(0.01)
        if codes is not None:
            self._folder.cleanup()
        return codes

    def strike(self, number: signal.Signals) -> None:
        self._ranks.signal(self._choice.randrange(len(self._ranks.processes)), number)

    def kill(self) -> None:
        for process in self._ranks.processes:
            process.kill()
            process.join()
        self._folder.cleanup()

    def _codes(self) -> list[int] | None:
        codes = [process.exitcode for process in self._ranks.processes if process.exitcode is not None]
        return codes if len(codes) == len(self._ranks.processes) else None

    def _act_as_torchrun(self) -> None:
        if self._asked_s is None and any(process.exitcode for process in self._ranks.processes):
            self._asked_s = time.monotonic()
            self._send(signal.SIGTERM)
        elif self._asked_s is not None and time.monotonic() - self._asked_s > _AGENT_WAITS_S:
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        for process in self._ranks.processes:
            if process.exitcode is None and process.pid is not None:
                os.kill(process.pid, number)


def printed(config: Path) -> str:
    """The end of what the last launch of this configuration printed in a process of its own."""
    output = _output(config)
    if not output.exists():
        return ""
    return output.read_text(encoding="utf-8", errors="replace")[-_SHOWN_CHARACTERS:]


def _output(config: Path) -> Path:
    return config.with_suffix(".output")


def _train(config: Path, device: str) -> None:
    """One launch of the command, printing into a file, in a process group of its own."""
    os.setsid()
    output = os.open(_output(config), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for descriptor in (1, 2):
        os.dup2(output, descriptor)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not what a test has put in their place
    from main import main as command_line

    code = command_line(["--config-filepath", str(config), "--device", device])
    os._exit(code)
