"""Whether the parallel convolutions' kernels compute what they should, on the device where they will."""

from collections.abc import Callable

import torch
from torch.nn import functional

# With parts of a program's pixels and groups left over, and more pixels than one program adds up at a time.
SHAPE = (2, 36, 33, 34)

Convolutions = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def largest_difference(
    convolutions: Convolutions,
    shape: tuple[int, int, int, int] = SHAPE,
    *,
    device: torch.device,
    dtype: torch.dtype,
    memory_format: torch.memory_format = torch.channels_last,
) -> float:
    """How far result and gradients are from float64 on the CPU, relative to the largest value of each.

    Args:
        convolutions: as `parallel_convolutions`.
        shape: images, channels of one date, height, width.
        device: where they compute.
        dtype: of the features.
        memory_format: of the features.

    Returns:
        The largest of these differences; NaN if a number is.
    """
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device.type, enabled=False):
        features, weights, biases, slopes = _operands(shape, dtype)
        exact = [one.double().requires_grad_() for one in (features, weights, biases)]
        expected = _in_float64(*exact)
        given = [
            features.to(device, copy=True).contiguous(memory_format=memory_format).requires_grad_(),
            *(one.to(device, copy=True).requires_grad_() for one in (weights, biases)),
        ]
        found = convolutions(*given)
        pairs = zip(
            [found, *torch.autograd.grad(found, given, slopes.to(device))],
            [expected, *torch.autograd.grad(expected, exact, slopes.double())],
            strict=True,
        )
        return float(torch.stack([relative_difference(one, other) for one, other in pairs]).max())


def _operands(shape: tuple[int, int, int, int], dtype: torch.dtype) -> list[torch.Tensor]:
    """Features, weights, biases, and the gradients of the result."""
    batch, channels, height, width = shape
    generator = torch.Generator().manual_seed(0)
    shapes = [
        (batch, 2 * channels, height, width),
        (4, channels, 4, 3, 3),
        (4, channels),
        (batch, 4 * channels, height, width),
    ]
    features, weights, biases, slopes = (torch.randn(one, generator=generator) for one in shapes)
    return [features.to(dtype), weights, biases, slopes.to(dtype)]


def _in_float64(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    groups = weights.shape[1] // 2
    branches = [
        functional.conv2d(features, weights[k], biases[k], padding=k + 1, dilation=k + 1, groups=groups)
        for k in range(4)
    ]
    return torch.cat(branches, dim=1)


def relative_difference(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """The largest, next to the largest of what is expected; a scalar on the CPU."""
    return (found.detach().cpu().double() - expected.detach()).abs().max() / expected.detach().abs().max()
