"""Several configuration files, one after another, each in a process of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import pylon
from pylon.runners.signals import StopFlag

# In a clone; not resolved, since a copy of it may hold links.
_MAIN = Path(pylon.__file__).absolute().parents[1] / "main.py"
_POLL_S = 0.2


@dataclass(frozen=True)
class Ended:
    """How one file's process ended."""

    path: Path
    return_code: int
    time_s: float
    outcome: dict[str, Any] | None

    @property
    def exit_code(self) -> int:
        """As a shell reports it: 128 + N if signal N killed the process."""
        return self.return_code if self.return_code >= 0 else 128 - self.return_code

    @property
    def ending(self) -> str:
        """How it ended, for people."""
        if self.return_code < 0:
            return f"killed by {_signal_name(-self.return_code)}"
        return f"exit code {self.return_code}" if self.return_code else "finished"


def run_each(paths: list[Path], arguments: list[str], work_dir: Path | None) -> int:
    """Run each file in its own process and print a table at the end.

    A file that fails does not keep the next ones from running; a stop request does.

    Args:
        paths: the configuration files.
        arguments: what each process gets besides its file.
        work_dir: parent of all run directories, each named after its file; None: as configured.

    Returns:
        0 if all finished; 75 if stopped by a signal; the exit code of those that failed if they share
        one, which is 128 + N for signal N; else 1.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stderr.write("torchrun starts the ranks of one run: give it one configuration file.\n")
        return 2
    console = Console()
    directories = _directories(paths, work_dir)
    if directories is None:
        sys.stderr.write(
            f"--work-dir {work_dir}: two files have the same name, so their directories would be one. "
            "Rename one, or run them one by one.\n"
        )
        return 2
    stop = StopFlag()
    ended: list[Ended] = []
    with stop.installed(), contextlib.suppress(KeyboardInterrupt):
        for number, (path, directory) in enumerate(zip(paths, directories, strict=True), start=1):
            if stop.signalled:
                break
            console.rule(f"{number}/{len(paths)}  {path}")
            ended.append(_run_one(path, [*arguments, *directory], stop))
    console.print(_table(paths, ended))
    if stop.signalled:
        return 75 if stop.interrupts < 2 else 130
    failures = {one.exit_code for one in ended if one.exit_code != 0}
    return failures.pop() if len(failures) == 1 else int(bool(failures))


def _directories(paths: list[Path], work_dir: Path | None) -> list[list[str]] | None:
    if work_dir is None:
        return [[] for _ in paths]
    if len({path.stem for path in paths}) < len(paths):
        return None
    return [["--work-dir", str(work_dir / path.stem)] for path in paths]


def _run_one(path: Path, arguments: list[str], stop: StopFlag) -> Ended:
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pylon-outcome-") as folder:
        outcome = Path(folder) / "outcome.json"
        command = [*_program(), "--config-filepath", str(path), "--outcome-file", str(outcome)]
        with subprocess.Popen([*command, *arguments]) as process:
            forwarded = False
            while process.poll() is None:
                if stop.signalled and not forwarded:
                    forwarded = True
                    # Never SIGINT: a terminal has sent it to the whole group, and a second one ends at once.
                    process.send_signal(signal.SIGTERM)
                time.sleep(_POLL_S)
        content = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else None
    return Ended(path, process.returncode, time.monotonic() - started, content)


def _program() -> list[str]:
    """The command that starts one more process of the program that this process runs."""
    started = Path(sys.argv[0])
    if started.is_file() and _MAIN.is_file() and started.samefile(_MAIN):
        return [sys.executable, str(started)]
    # As `python -m pylon`, which finds packages in the working directory, or as `pylon`, which does not.
    by_module = getattr(sys.modules["__main__"], "__spec__", None) is not None
    return [sys.executable, *([] if by_module else ["-P"]), "-m", "pylon", "train"]


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _table(paths: list[Path], ended: list[Ended]) -> Table:
    table = Table("configuration", "ended", "validation", "test", "minutes", "directory")
    for one in ended:
        result = (one.outcome or {}).get("result", {})
        table.add_row(
            str(one.path),
            one.ending,
            _scores(result.get("validation")),
            _scores(result.get("test")),
            f"{one.time_s / 60:.1f}",
            (one.outcome or {}).get("directory", ""),
        )
    for path in paths[len(ended) :]:
        table.add_row(str(path), "not started", "", "", "", "")
    return table


def _scores(scores: dict[str, float | None] | None) -> str:
    return ", ".join(
        f"{name} undefined" if value is None else f"{name} {value:.4f}"
        for name, value in (scores or {}).items()
    )
