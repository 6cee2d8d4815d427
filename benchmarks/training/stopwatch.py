"""A model that notes when its steps begin and end."""

import json
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

TIMES = "PYLON_BENCHMARK_TIMES"


class WatchedModel(torch.nn.Module):
    """Notes the moments at which its forward passes in training begin and optimizer steps end.

    At the end of the last step all are written to the file that $PYLON_BENCHMARK_TIMES names. The step of an
    optimizer without a forward pass here is another model's: the rehearsal takes one with a copy.

    Args:
        model: that computes.
        steps: how many there will be.
    """

    def __init__(self, model: torch.nn.Module, steps: int) -> None:
        super().__init__()
        self.model = model
        self._steps = steps
        self._begun_s: list[float] = []
        self._ended_s: list[float] = []
        register_optimizer_step_post_hook(self._end_step)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """The model's logits."""
        if self.training:
            self._begun_s.append(time.perf_counter())
        logits: torch.Tensor = self.model(img_1=img_1, img_2=img_2)
        return logits

    def _end_step(self, *_: object) -> None:
        if len(self._begun_s) == len(self._ended_s):
            return
        self._ended_s.append(time.perf_counter())
        if len(self._ended_s) == self._steps:
            content = {"begun_s": self._begun_s, "ended_s": self._ended_s}
            Path(os.environ[TIMES]).write_text(json.dumps(content), encoding="utf-8")


@dataclass(frozen=True)
class Times:
    """What was noted.

    Attributes:
        whole_s: from the beginning of each step to that of the next, seconds.
        between_s: from the end of each step to the beginning of the next: loading, logging and saving.
    """

    whole_s: list[float]
    between_s: list[float]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what a process wrote."""
        noted = json.loads(path.read_text(encoding="utf-8"))
        begun_s, ended_s = noted["begun_s"], noted["ended_s"]
        return cls(
            whole_s=[after - before for before, after in pairwise(begun_s)],
            between_s=[begun - ended for ended, begun in zip(ended_s, begun_s[1:], strict=False)],
        )
