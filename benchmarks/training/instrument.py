"""The instrument of the time per step: a criterion, so that it is the same in every contender's process."""

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import torch

from benchmarks.training.turns import Trainee

MARKS = "PYLON_BENCHMARK_MARKS"
WARM_UP, STEPS, BLOCKS = "PYLON_BENCHMARK_WARM_UP", "PYLON_BENCHMARK_STEPS", "PYLON_BENCHMARK_BLOCKS"


class MeasuredCriterion(torch.nn.Module):
    """A criterion that notes wall and CPU time between its calls: from one to the next lies one whole step.

    After $PYLON_BENCHMARK_WARM_UP calls it measures $PYLON_BENCHMARK_BLOCKS blocks of
    $PYLON_BENCHMARK_STEPS steps, and waits for its turn before each. What it notes stays in memory until
    the last block has ended, and is then written to the file that $PYLON_BENCHMARK_MARKS names.

    Args:
        criterion: what computes the loss.
    """

    def __init__(self, criterion: torch.nn.Module) -> None:
        super().__init__()
        self.criterion = criterion
        self._path = Path(os.environ[MARKS])
        self._warm_up, self._steps, blocks = (int(os.environ[name]) for name in (WARM_UP, STEPS, BLOCKS))
        self._last = self._warm_up + blocks * self._steps
        self._calls = 0
        self._turn = Trainee()
        self._begun: _Moment | None = None
        self._blocks: list[dict[str, float]] = []
        self._losses: list[torch.Tensor] = []
        self._others: list[tuple[float, float]] = []

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The criterion's loss."""
        since_warm_up = self._calls - self._warm_up
        if since_warm_up >= 0 and self._calls <= self._last and since_warm_up % self._steps == 0:
            self._end_block()
        self._calls += 1
        loss: torch.Tensor = self.criterion(logits, target)
        if self._calls <= self._last:
            self._losses.append(loss.detach())
        return loss

    def _end_block(self) -> None:
        now = _Moment.now()
        if self._begun is not None:
            self._blocks.append(
                {"wall_s": now.wall_s - self._begun.wall_s, "cpu_s": now.cpu_s - self._begun.cpu_s}
            )
        if self._calls in {self._warm_up, self._last}:
            # Other processes work while this one waits, too: theirs is CPU time per second, not per step.
            self._others.append((time.perf_counter(), _cpu_of_others_s()))
        if self._calls == self._last:
            self._write()
        self._turn.wait()
        self._begun = _Moment.now()

    def _write(self) -> None:
        (begin_s, before_s), (end_s, after_s) = self._others
        content = {
            "steps": self._steps,
            "blocks": self._blocks,
            "others_share": (after_s - before_s) / (end_s - begin_s),
            "losses": torch.stack(self._losses).double().tolist(),
        }
        self._path.write_text(json.dumps(content), encoding="utf-8")


@dataclass(frozen=True)
class _Moment:
    wall_s: float
    cpu_s: float

    @classmethod
    def now(cls) -> Self:
        return cls(time.perf_counter(), time.process_time())


@dataclass(frozen=True)
class Marks:
    """What the instrument noted in one process.

    Attributes:
        wall_s: wall time per step, the mean of each block, seconds.
        cpu_s: CPU time per step of the training process with all its threads, the same.
        others_share: CPU time of all processes below it together, in seconds per second.
        losses: of every call, the warm-up's too.
    """

    wall_s: list[float]
    cpu_s: list[float]
    others_share: float
    losses: list[float]

    @property
    def all_cpu_s(self) -> list[float]:
        """CPU time per step of all its processes."""
        return [
            cpu_s + self.others_share * wall_s for cpu_s, wall_s in zip(self.cpu_s, self.wall_s, strict=True)
        ]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what a process wrote."""
        noted: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        steps = noted["steps"]
        return cls(
            wall_s=[block["wall_s"] / steps for block in noted["blocks"]],
            cpu_s=[block["cpu_s"] / steps for block in noted["blocks"]],
            others_share=noted["others_share"],
            losses=noted["losses"],
        )


def _cpu_of_others_s() -> float:
    total = 0.0
    for process in psutil.Process().children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total
