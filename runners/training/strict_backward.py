"""Backward passes by deterministic kernels wherever torch has them.

In the mode in which an operation without one warns (randomness.deterministic_kernels), torch's attention on
CUDA may take a kernel that is not deterministic although it has another, and says so (torch 2.11,
aten/src/ATen/native/transformers/cuda/attention_backward.cu). In the strict mode it takes the other, but
there an operation without one raises.
"""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

import torch

logger = logging.getLogger(__name__)

_NONE = "does not have a deterministic implementation"


class StrictBackward:
    """The strict mode around backward passes, until one of a run has an operation that is not deterministic.

    Args:
        wanted: whether to begin with it.

    Attributes:
        logs: whether an operation that is not deterministic is named in the log.
    """

    def __init__(self, *, wanted: bool) -> None:
        self._strict = wanted
        self.logs = True

    def mode(self) -> contextlib.AbstractContextManager[None]:
        """Around a backward pass. Nothing changes if no determinism is asked for."""
        if not self._strict or not torch.are_deterministic_algorithms_enabled():
            return contextlib.nullcontext()
        return _strict_mode()

    def gives_up(self, error: RuntimeError) -> bool:
        """Whether an error means that the mode is too strict: it is then off, and the step can be redone.

        A resumed run has this from `state_dict`, so that it redoes the same steps.
        """
        if not self._strict or _NONE not in str(error):
            return False
        self._strict = False
        if not self.logs:
            return True
        operation = str(error).partition(_NONE)[0].split()[-1:]
        logger.warning(
            "%s has no deterministic kernel, so that a resumed run may differ from this one in its last bits",
            "".join(operation) or "an operation",
        )
        return True

    def state_dict(self) -> dict[str, Any]:
        """Whether it is on."""
        return {"strict": self._strict}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with it, or without."""
        self._strict = self._strict and state["strict"]


@contextlib.contextmanager
def _strict_mode() -> Iterator[None]:
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True, warn_only=False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(True, warn_only=warn_only)
