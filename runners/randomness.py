"""Random generators and deterministic kernels of the training process."""

import contextlib
import os
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and torch's generators (CUDA's included) with `seed`, 0 <= seed < 2**63."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@contextlib.contextmanager
def deterministic_kernels(enabled: bool) -> Iterator[None]:
    """Ask torch for deterministic kernels inside the block and restore its settings after it.

    An operation without a deterministic kernel warns instead of failing: on CUDA the backward pass
    of bilinear upsampling is one (torch.use_deterministic_algorithms, its documentation). On the
    CPU the operations of the shipped models all have one.
    """
    former = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.utils.deterministic.fill_uninitialized_memory,
    )
    if enabled:
        # cuBLAS reads it when it is first used; without it, matrix products on CUDA may differ by bits.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(enabled, warn_only=True)
    torch.backends.cudnn.benchmark = not enabled
    # It costs 2 % of a step, and only a program that reads memory it never wrote has a use for it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(former[0], warn_only=former[1])
        torch.backends.cudnn.benchmark = former[2]
        torch.utils.deterministic.fill_uninitialized_memory = former[3]
