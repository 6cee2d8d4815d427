"""Run a program of this folder in an environment of its own, with and without monitors."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.faults.harness import _MARK, REPOSITORY, Trainer, _name, wait_until

PROGRAMS = Path(__file__).parent


@dataclass
class Program(Trainer):
    """A running program.

    Attributes:
        script: its file in this folder.
        flags: of the interpreter.
        wrapper: a command that runs it, such as ('nohup',).
        working_folder: where it runs.
        stdin, stdout: as for Popen; standard output goes to a file where nothing is said.
        watched: with monitors.
    """

    script: str = "programs.py"
    flags: tuple[str, ...] = ()
    wrapper: tuple[str, ...] = ()
    working_folder: Path = REPOSITORY
    stdin: int = subprocess.DEVNULL
    stdout: int | None = None
    watched: bool = True

    def __enter__(self) -> Self:
        self.mark = uuid.uuid4().hex
        self.folder.mkdir(parents=True)
        self.record = self.folder / "record.json"
        self.stderr = self.folder / "stderr.txt"
        self.printed = self.folder / "stdout.txt"
        with self.stderr.open("wb") as stderr, self.printed.open("wb") as stdout:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.working_folder,
                env=self.full_environment,
                stdin=self.stdin,
                stdout=stdout if self.stdout is None else self.stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self._heard: list[dict[str, Any]] = []
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.left_over():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait(10)

    @property
    def command(self) -> list[str]:
        return [*self.wrapper, sys.executable, *self.flags, str(PROGRAMS / self.script), *self.arguments]

    @property
    def full_environment(self) -> dict[str, str]:
        mine = {"PYLON_TEST_FOLDER": str(self.folder), _MARK: self.mark}
        return os.environ | mine | ({} if self.watched else {"PYLON_TEST_UNWATCHED": "1"}) | self.environment

    def wait_for(self, event: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The first event of this name that was not yet returned."""
        until_s = time.monotonic() + timeout_s
        while time.monotonic() < until_s:
            for said in self.events():
                if said["event"] == event and said not in self._heard:
                    self._heard.append(said)
                    return said
            time.sleep(0.02)
        raise AssertionError(
            f"no {event!r} in {timeout_s} s: {self.events()}; standard error: {self.stderr.read_text()}"
        )

    def events(self, event: str | None = None) -> list[dict[str, Any]]:
        """All that it has told so far, of one kind or of any."""
        file = self.folder / "events.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        said = [json.loads(line) for line in lines]
        return [one for one in said if event is None or one["event"] == event]

    def monitors(self) -> list[str]:
        """Names of the monitors' processes that run, also those that do not have their name yet."""
        return [_name(pid) or "?" for pid in self.left_over() if self._of_monitors(pid)]

    def monitors_after(self, grace_s: float = 2.0) -> list[str]:
        """Names of the monitors' processes that still run after `grace_s`, whatever else runs."""
        until_s = time.monotonic() + grace_s
        while (left := self.monitors()) and time.monotonic() < until_s:
            time.sleep(0.02)
        return left

    def sampled(self) -> bool:
        """Whether the last good sample stands on the disk."""
        return self.record.exists() and json.loads(self.record.read_text())["memory_used_bytes"] > 0

    def strange_lines(self) -> list[str]:
        """Standard error without what monitors may log, and without the name of this folder."""
        lines = self.stderr.read_text().replace(str(self.folder), "").splitlines()
        return [line for line in lines if not line.startswith("monitor ")]

    @staticmethod
    def _of_monitors(pid: int) -> bool:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return b"pylon.monitor.process.supervisor" in command


def run(
    folder: Path,
    *arguments: str,
    act: Callable[[Program], object] = lambda program: None,
    sample: bool = True,
    **how: Any,
) -> Program:
    """Run a program with monitors and without, and require that they end alike.

    Args:
        folder: for their files.
        arguments: of the program.
        act: does to each of the two what shall be done to it.
        sample: whether a sample is expected.
        how: more of a Program.
    """
    with (
        Program(folder / "unwatched", arguments=arguments, watched=False, **how) as plain,
        Program(folder / "watched", arguments=arguments, **how) as watched,
    ):
        act(watched)
        act(plain)
        code = watched.exit_code(40)
        left, plain_code = watched.left_over_after(), plain.exit_code()
        assert not left, f"processes are left: {left}"
        strange = watched.strange_lines()
        assert strange == plain.strange_lines(), "\n".join(strange)
        assert code == plain_code, f"exit code {code}, without monitors {plain_code}"
        assert watched.printed.read_text() == plain.printed.read_text()
        if sample:
            assert watched.sampled()
    return watched


def killed(program: Program, number: int, pid: int | None = None) -> None:
    """Kill a program's training process and require that no process of its monitors is left."""
    assert program.monitors(), "there were no monitors to leave behind"
    os.kill(program.pid if pid is None else pid, number)
    assert program.monitors_after() == []
    assert program.sampled()


def process_state(pid: int) -> str:
    """One letter as in /proc/PID/stat; empty once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


__all__ = ["REPOSITORY", "Program", "killed", "process_state", "run", "wait_until"]
