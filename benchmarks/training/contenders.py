"""Who trains, and what exactly each does: the text is printed under the table."""

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training.loops import LOSSES


@dataclass(frozen=True)
class Contender:
    """One way to train.

    Attributes:
        title: as the tables call it.
        does: what it does in each step and around it, a sentence.
        needs: the module that must be installed, None where there is none.
        logged: the losses in what it wrote, given its folder.
    """

    title: str
    does: str
    needs: str | None
    logged: Callable[[Path], list[float]]

    @property
    def available(self) -> bool:
        """Whether it can be measured here."""
        return self.needs is None or importlib.util.find_spec(self.needs) is not None

    def command(self, name: str, config: Path, steps: int, folder: Path) -> list[str]:
        """Arguments of the interpreter for one training process."""
        if name == "pylon":
            return ["main.py", "--config-filepath", str(config), "--device", "cpu"]
        return ["-m", "benchmarks.training.trainee", name, str(config), str(steps), str(folder)]


def _json_lines(path: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in path.read_text(encoding="utf-8").splitlines()]


def _csv_column(path: Path) -> list[float]:
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    column = head.split(",").index("loss")
    return [float(line.split(",")[column]) for line in lines if line.split(",")[column]]


CONTENDERS = {
    "hand-written": Contender(
        "hand-written loop",
        "torch's DataLoader, zero_grad, forward, backward, step; loss.item() and one JSON line per step "
        "through a buffered file; no display, no checkpoint, no monitor",
        None,
        lambda folder: _json_lines(folder / LOSSES),
    ),
    "Pylon's data": Contender(
        "the same loop, Pylon's data layer",
        "the hand-written loop over Pylon's DataLoader and BaseDataset: each datapoint seeded and checked",
        None,
        lambda folder: _json_lines(folder / LOSSES),
    ),
    "pylon": Contender(
        "Pylon",
        "main.py with its defaults, everything on: its data layer, deterministic kernels, metrics.jsonl with "
        "loss, rate and time per step (flushed every 10 steps), train.log, live display, monitors of CPU and "
        "GPU once a second in processes of their own, signal handling; checkpoint and validation at the "
        "epoch's end, outside the turns",
        None,
        lambda folder: _json_lines(folder / "run/metrics.jsonl"),
    ),
    "lightning": Contender(
        "Lightning",
        "Trainer with its defaults (progress bar, model summary; a checkpoint at the epoch's end, outside "
        "the turns), self.log of the loss and CSVLogger with log_every_n_steps=1; no monitor, no validation",
        "lightning",
        lambda folder: _csv_column(folder / "csv/version_0/metrics.csv"),
    ),
    "accelerate": Contender(
        "accelerate",
        "Accelerator.prepare of model, optimizer and loader, the loop of its quick tour; loss.item() and one "
        "JSON line per step through a buffered file; no display, no checkpoint, no monitor",
        "accelerate",
        lambda folder: _json_lines(folder / LOSSES),
    ),
}
