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

from pylon.runners.signals import StopFlag

_MAIN = Path(__file__).resolve().parents[2] / "main.py"
_POLL_S = 0.2


@dataclass(frozen=True)
class Ended:
    """How one file's process ended."""

    path: Path
    exit_code: int
    time_s: float
    outcome: dict[str, Any] | None


def run_each(paths: list[Path], arguments: list[str], work_dir: Path | None) -> int:
    """Run each file in its own process and print a table at the end.

    A file that fails does not keep the next ones from running; a stop request does.

    Args:
        paths: the configuration files.
        arguments: what each process gets besides its file.
        work_dir: parent of all run directories, each named after its file; None: as configured.

    Returns:
        0 when all finished, 75 when stopped by a signal, the common exit code if all that
        failed have the same, else 1.
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
            if stop.requested:
                break
            console.rule(f"{number}/{len(paths)}  {path}")
            ended.append(_run_one(path, [*arguments, *directory], stop))
    console.print(_table(paths, ended))
    if stop.requested:
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
        command = [sys.executable, str(_MAIN), "--config-filepath", str(path), "--outcome-file", str(outcome)]
        with subprocess.Popen([*command, *arguments]) as process:
            asked = False
            while process.poll() is None:
                if stop.requested and not asked:
                    asked = True
                    # Never SIGINT: a terminal has sent it to the whole group, and a second one ends at once.
                    process.send_signal(signal.SIGTERM)
                time.sleep(_POLL_S)
        content = json.loads(outcome.read_text(encoding="utf-8")) if outcome.exists() else None
    return Ended(path, process.returncode, time.monotonic() - started, content)


def _table(paths: list[Path], ended: list[Ended]) -> Table:
    table = Table("configuration", "ended", "validation", "test", "minutes", "directory")
    for one in ended:
        result = (one.outcome or {}).get("result", {})
        table.add_row(
            str(one.path),
            "finished" if one.exit_code == 0 else f"exit code {one.exit_code}",
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
