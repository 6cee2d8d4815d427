"""Losses as numbers, without waiting for a device.

A loss on a GPU is known when the GPU gets there. `float(loss)` would wait for that, and for all that is
queued before it, in every step.
"""

import sys
from collections import deque
from collections.abc import Iterator
from typing import Any

# A training never waits for what is behind that.
_MOST_PENDING = 256


class Losses:
    """Takes the losses of steps, and gives those that are known."""

    def __init__(self) -> None:
        self._pending: deque[tuple[int, Any, Any]] = deque(maxlen=_MOST_PENDING)

    def known(self, number: int, loss: Any) -> float | None:  # noqa: ANN401 - a number or a tensor
        """The loss as a number, if that is known at once; else it is kept for `ready`."""
        if not hasattr(loss, "device"):
            return None if loss is None else float(loss)
        if loss.device.type == "cpu":
            return float(loss.detach())
        if loss.device.type == "cuda":
            self._copy(number, loss)
        # Of other devices no copy is known that does not wait.
        return None

    def ready(self) -> Iterator[tuple[int, float]]:
        """Step and loss of those that have become known."""
        while self._pending and self._pending[0][2].query():
            number, copy, _ = self._pending.popleft()
            yield number, float(copy)

    def _copy(self, number: int, loss: Any) -> None:  # noqa: ANN401 - a tensor, without torch being imported
        torch = sys.modules["torch"]
        copy = torch.empty((), dtype=torch.float32, pin_memory=True)
        copy.copy_(loss.detach().reshape(()), non_blocking=True)
        event = torch.cuda.Event()
        event.record()
        self._pending.append((number, copy, event))
