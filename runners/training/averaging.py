"""An exponential moving average of a model's weights."""

import copy
from typing import Any

import torch


class WeightAverage:
    """The average, as a model of its own.

    Args:
        model: whose weights are averaged.
        decay: share of the previous average in the new one, 0..1.
        evaluated: whether evaluation uses the average; noted in checkpoints, for evaluation-only runs.
    """

    def __init__(self, model: torch.nn.Module, decay: float, *, evaluated: bool) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self._decay = decay
        self._evaluated = evaluated

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Take in the weights after a step. Buffers, such as running statistics, are copied."""
        for average, value in zip(self.model.parameters(), model.parameters(), strict=True):
            average.lerp_(value, 1 - self._decay)
        for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The averaged model's state."""
        return {"model": self.model.state_dict(), "evaluated": self._evaluated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state_dict["model"])
