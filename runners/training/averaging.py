"""An exponential moving average of a model's weights."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from pylon.runners.errors import TrainingError

_ROUNDED = frozenset({torch.bfloat16, torch.float16})


class WeightAverage:
    """The average, as a model of its own.

    Args:
        model: whose weights are averaged.
        decay: share of the previous average in the new one, 0..1.
        evaluated: whether evaluation uses the average; noted in checkpoints, for evaluation-only runs.
        build: builds such a model again, for one that cannot be copied.

    Raises:
        TrainingError: the model can be neither copied nor built again.
    """

    def __init__(
        self, model: torch.nn.Module, decay: float, *, evaluated: bool, build: Callable[[], torch.nn.Module]
    ) -> None:
        self.model = _second(model, build).requires_grad_(False)
        self._decay = decay
        self._evaluated = evaluated
        # With 8 or 11 significant bits, a small step towards the weights is rounded to none.
        self._exact: dict[str, torch.Tensor] = {}

    @torch.no_grad()
    def update(self, model: torch.nn.Module) -> None:
        """Take in the weights after a step. Buffers, such as running statistics, are copied."""
        for (name, average), value in zip(self.model.named_parameters(), model.parameters(), strict=True):
            if average.dtype not in _ROUNDED:
                average.lerp_(value, 1 - self._decay)
                continue
            if name not in self._exact:
                self._exact[name] = average.float()
            average.copy_(self._exact[name].lerp_(value.float(), 1 - self._decay))
        for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            copied.copy_(buffer)

    def state_dict(self) -> dict[str, Any]:
        """The averaged model's state."""
        exact = {"exact": self._exact} if self._exact else {}
        return {"model": self.model.state_dict(), "evaluated": self._evaluated, **exact}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self.model.load_state_dict(state_dict["model"])
        # Earlier versions have saved the rounded average alone.
        exact = state_dict.get("exact", {})
        self._exact = {
            name: exact[name].to(average.device, copy=True)
            for name, average in self.model.named_parameters()
            if name in exact
        }


def _second(model: torch.nn.Module, build: Callable[[], torch.nn.Module]) -> torch.nn.Module:
    """A model with the same weights and buffers."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # noqa: BLE001 - of any module, such as one with the old weight_norm
        refusal = error
    try:
        second = build()
        second.load_state_dict(model.state_dict())
        with torch.no_grad():
            for buffer, value in zip(second.buffers(), model.buffers(), strict=True):
                buffer.copy_(value)  # those too that are not in a state_dict
    except Exception as error:
        name = type(model).__name__
        raise TrainingError(
            f"stepping.args.ema_decay: an average needs a second {name}, which can neither be copied "
            f"({_in_one_line(refusal)}) nor built again ({_in_one_line(error)}). Let copy.deepcopy() work "
            "for it, or train without an average."
        ) from error
    return second


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
