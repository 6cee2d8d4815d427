"""Whether functions of our own may take the place of torch's, or of calls of layers."""

import torch
from torch import nn


def is_traced() -> bool:
    """Whether a compiler or torch.jit.trace reads along: both know torch's functions best."""
    return torch.compiler.is_compiling() or bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def are_plain(*layers: nn.Module) -> bool:
    """Whether calling each is nothing but its convolution.

    It is not with a hook, a parametrization, or a layer in its place (such as one that adapts it): these
    would be passed over.
    """
    return all(
        isinstance(layer, nn.Conv2d)
        and type(layer).__module__.startswith(("torch.nn.modules.", "pylon.models."))
        and not layer._forward_pre_hooks
        and not layer._forward_hooks
        and not layer._backward_pre_hooks
        and not layer._backward_hooks
        for layer in layers
    )
