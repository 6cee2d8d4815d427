"""Random generators and deterministic kernels of the training process."""

import contextlib
import os
import random
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from pylon.runners.object_generators import ObjectGenerators


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (CUDA's included) with `seed`, 0 <= seed < 2**63."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class RandomState:
    """The generators of the training process as a part of a checkpoint: Python, NumPy, torch, and CUDA's.

    Args:
        device: the run's device. Other GPUs' generators are left alone: asking for them would open
            a context on each.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._of_objects = ObjectGenerators({})

    def take_in(self, owners: Mapping[str, object]) -> None:
        """From now on, the generators that these objects hold belong to it, too."""
        self._of_objects = ObjectGenerators(owners)

    def look(self) -> None:
        """Find those of the objects again: some are made when they are first needed."""
        self._of_objects.look()

    def state_dict(self) -> dict[str, Any]:
        """Every generator's state, as plain values and tensors."""
        version, internal, gauss = random.getstate()
        numbers: Any = np.random.get_state()
        name, keys, *rest = numbers
        return {
            "objects": self._of_objects.state_dict(),
            "python": [version, list(internal), gauss],
            "numpy": [name, torch.from_numpy(keys.astype(np.int64)), *rest],
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore every generator."""
        version, internal, gauss = state_dict["python"]
        random.setstate((version, tuple(internal), gauss))
        name, keys, *rest = state_dict["numpy"]
        np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.set_rng_state(state_dict["torch"])
        if state_dict["cuda"] is not None and self._device.type == "cuda":
            torch.cuda.set_rng_state(state_dict["cuda"], self._device)
        self._of_objects.load_state_dict(state_dict.get("objects", {}))  # absent before 0.3

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Restore every generator to its state before the block."""
        former = self.state_dict()
        try:
            yield
        finally:
            self.load_state_dict(former)


def generators_kept(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Restore every generator, as in RandomState, to its state before the block."""
    return RandomState(device).kept()


@contextlib.contextmanager
def deterministic_kernels(enabled: bool) -> Iterator[None]:
    """Ask torch for deterministic kernels inside the block and restore its settings after it.

    An operation without a deterministic kernel warns instead of failing: on CUDA the backward pass
    of bilinear upsampling is one (torch.use_deterministic_algorithms, its documentation). On the
    CPU the operations of the shipped models all have one.
    """
    # Its value is a property of the module's class, which type checkers do not see.
    module: Any = torch.utils.deterministic
    former = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        module.fill_uninitialized_memory,
    )
    if enabled:
        # cuBLAS reads it when it is first used; without it, matrix products on CUDA may differ by bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(enabled, warn_only=True)
    torch.backends.cudnn.benchmark = not enabled
    # It costs 2 % of a step, and only a program that reads memory it never wrote has a use for it.
    module.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(former[0], warn_only=former[1])
        torch.backends.cudnn.benchmark = former[2]
        module.fill_uninitialized_memory = former[3]
