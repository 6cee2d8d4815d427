"""A file with three stages, and what its runs leave."""

import io
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options, Outcome
from tests.runners.conftest import REPOSITORY, started
from tests.runners.run_directory.test_interrupted import numbers

# Stage 2 has a criterion that sends its process a signal, or raises, where the environment says so.
FILE = """
import os, signal
from tests.runners.toy import *
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of

class Ending(ToyCriterion):
    def forward(self, logits, target):
        self.calls += 1
        if str(self.calls) == os.environ.get("END_AT_CALL"):
            if os.environ["END_BY"] == "raise":
                raise RuntimeError("the criterion broke")
            os.kill(os.getpid(), signal.Signals[os.environ["END_BY"]])
        return nn.functional.cross_entropy(logits, target)

first = toy_config("nowhere", epochs=2)
second = toy_config("nowhere", criterion={{"class": Ending, "args": {{}}}}, seed=6)
second["runner"]["args"]["initial_checkpoint"] = "stage:first"
config = {{
    "work_dir": {work_dir!r},
    "stages": {{
        "first": first,
        "second": second,
        "third": evaluation_of(second, SupervisedSingleTaskEvaluator, checkpoint="stage:second"),
    }},
}}
"""
NAMES = ("first", "second", "third")


@dataclass(frozen=True)
class Staged:
    """A file with three stages in `folder`."""

    folder: Path

    @property
    def work_dir(self) -> Path:
        return self.folder / "all"

    @property
    def path(self) -> Path:
        path = self.folder / "staged.py"
        if not path.exists():
            path.write_text(FILE.format(work_dir=str(self.work_dir)))
        return path

    def run(self, path: Path | None = None, **options: Any) -> Outcome:
        console = Console(file=io.StringIO())
        return run_file(path or self.path, Options(device="cpu", **options), console)

    def launch(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [str(REPOSITORY / "main.py"), "--config-filepath", str(self.path), "--device", "cpu"]
        return started([*command, *arguments], environment)


def make_staged(folder: Path, *, run: bool = False) -> Staged:
    """A file with three stages in a new folder; `run`: without an interruption, in this process."""
    folder.mkdir()
    made = Staged(folder)
    if run:
        made.run()
    return made


def everything(root: Path) -> dict[str, Any]:
    """What the stages compute, times and places left out."""
    found = {name: numbers(root / name) for name in ("first", "second")}
    third = json.loads((root / "third" / "test" / "test_results.json").read_text())
    return {**found, "third": {key: third[key] for key in ("aggregated", "per_datapoint")}}


def written(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.suffix in {".pt", ".json"}}


def log(root: Path, name: str) -> str:
    return (root / name / "train.log").read_text()


def state(root: Path, name: str) -> str:
    content: dict[str, str] = json.loads((root / name / "state.json").read_text())
    return content["state"]
