"""Runs of the recipes: in forks of this process, which must not have used CUDA itself, or by the command."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.gpu.machine import REPOSITORY
from tests.shutdown.launches import OneProcess, printed

RECIPES = "tests.gpu.recipes"


def configuration(folder: Path, name: str, recipe: str, **arguments: object) -> tuple[Path, Path]:
    """Write a configuration file that calls a recipe; the file, and the run's directory."""
    work_dir = folder / name
    given = "".join(f", {key}={value!r}" for key, value in arguments.items())
    path = folder / f"{name}.py"
    path.write_text(
        f"from {RECIPES} import {recipe}\n\nconfig = {recipe}({str(work_dir)!r}{given})\n",
        encoding="utf-8",
    )
    return path, work_dir


def exit_code(launch: OneProcess, within_s: float) -> int | None:
    """Wait for the end of a run; None if it did not end in time, and was killed."""
    codes = launch.join(within_s)
    if codes is None:
        launch.kill()
        return None
    return codes[0]


def losses(work_dir: Path) -> list[float]:
    """Of each step that was logged."""
    path = work_dir / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line)["loss"] for line in path.read_text(encoding="utf-8").splitlines()]


def end_of_log(work_dir: Path) -> str:
    """The last lines that a run logged, or printed if it came to no log."""
    path = work_dir / "train.log"
    if not path.exists():
        return printed(work_dir.with_name(f"{work_dir.name}.py")) or "no log"
    return "\n".join(path.read_text(encoding="utf-8").splitlines()[-8:])


def command(
    config: Path, device: str, within_s: float, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """A run by the command, with what it prints."""
    return subprocess.run(
        [sys.executable, "main.py", "--config-filepath", str(config), "--device", device],
        cwd=REPOSITORY, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, timeout=within_s, check=False,
    )  # fmt: skip
