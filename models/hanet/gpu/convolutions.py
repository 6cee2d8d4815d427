"""HANet's parallel convolutions on NVIDIA GPUs: an operation of torch, with its gradients, by own kernels.

cuDNN has no fast kernel for groups of four channels: on an H200, its grouped convolutions took nearly a
third of a training step of the published width; those of the finest level 17.5 ms, and these kernels 6.9
ms. Triton, which comes with torch's CUDA builds, translates them when they are first used.
"""

from contextlib import AbstractContextManager
from typing import Any

import torch
import triton

from pylon.models.hanet.gpu import kernels

_BRANCHES, _TAPS = 4, 9
_IN, _OUT = 4, 2  # channels of a group
# Of a program at a time: with 4 groups instead of 8, each kernel takes twice as long on an H200.
_PIXELS, _GROUPS = 64, 8
_MOST_STEPS = 64  # of so many pixels each, whose products with the gradient one program adds up
_LEAST_CHUNKS = 16  # of all pixels, for as many programs


@torch.library.custom_op("pylon::parallel_convolutions", mutates_args=())
def parallel_convolutions(
    features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor
) -> torch.Tensor:
    """Four grouped 3x3 convolutions of dilation 1 to 4 that keep the size, side by side.

    Args:
        features: (B, 2 * C, H, W) on a CUDA device, float32, bfloat16 or float16; C even.
        weights: of all four, (4, C, 4, 3, 3), float32.
        biases: (4, C), float32.

    Returns:
        (B, 4 * C, H, W) as one after another would give, of the features' dtype, in channels-last order.
    """
    features = features.contiguous(memory_format=torch.channels_last)
    results = _like(features, 2 * features.shape[1])
    pixels, groups = _sizes(features)
    with _device_of(features):
        kernels.convolve[(triton.cdiv(pixels, _PIXELS), triton.cdiv(groups, _GROUPS), _BRANCHES)](
            features, _by_tap(weights), biases.contiguous(), results,
            pixels, *features.shape[2:], groups, PIXELS=_PIXELS, GROUPS=_GROUPS,
        )  # fmt: skip
    return results


@parallel_convolutions.register_fake
def _(features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
    return _like(features, 2 * features.shape[1])


@torch.library.custom_op("pylon::gradients_of_parallel_convolutions", mutates_args=())
def _gradients(
    gradients: torch.Tensor, features: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Those of features, weights and biases, for the gradients of the result."""
    features = features.contiguous(memory_format=torch.channels_last)
    gradients = gradients.contiguous(memory_format=torch.channels_last)
    pixels, groups = _sizes(features)
    blocks, steps = triton.cdiv(groups, _GROUPS), _steps(pixels)
    chunks = triton.cdiv(pixels, steps * _PIXELS)
    of_features = _like(features, features.shape[1])
    sums = features.new_empty((chunks, _BRANCHES * _TAPS, _OUT * _IN + _OUT, groups), dtype=torch.float32)
    with _device_of(features):
        kernels.features_gradient[(triton.cdiv(pixels, _PIXELS), blocks)](
            gradients, _by_tap(weights), of_features,
            pixels, *features.shape[2:], groups, PIXELS=_PIXELS, GROUPS=_GROUPS,
        )  # fmt: skip
        kernels.weights_gradient[(_BRANCHES * _TAPS, blocks, chunks)](
            features, gradients, sums,
            pixels, *features.shape[2:], groups, PIXELS=_PIXELS, GROUPS=_GROUPS, STEPS=steps,
        )  # fmt: skip
    total = sums.sum(dim=0).view(_BRANCHES, _TAPS, _OUT * _IN + _OUT, groups)
    of_weights = total[:, :, : _OUT * _IN].reshape(_BRANCHES, _TAPS, _OUT, _IN, groups)
    of_biases = total[:, _TAPS // 2, _OUT * _IN :]  # the tap in the middle is never beyond an edge
    return (
        of_features,
        of_weights.permute(0, 4, 2, 3, 1).reshape(weights.shape).contiguous(),
        of_biases.transpose(1, 2).reshape(weights.shape[:2]).clone(),  # results may share no memory
    )


@_gradients.register_fake
def _(
    gradients: torch.Tensor, features: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    # torch.compile takes strides and dtypes from here, whatever those of the weights are.
    of_weights, of_biases = (
        weights.new_empty(shape, dtype=torch.float32) for shape in (weights.shape, weights.shape[:2])
    )
    return _like(features, features.shape[1]), of_weights, of_biases


def _keep(ctx: Any, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
    features, weights, _ = inputs
    ctx.save_for_backward(features, weights)


def _backward(ctx: Any, gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    found: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = _gradients(gradients, *ctx.saved_tensors)
    return found


parallel_convolutions.register_autograd(_backward, setup_context=_keep)


def _device_of(features: torch.Tensor) -> AbstractContextManager[None]:
    """Triton starts kernels on the current device."""
    device: AbstractContextManager[None] = torch.cuda.device_of(features)  # type: ignore[no-untyped-call]
    return device


def _like(features: torch.Tensor, channels: int) -> torch.Tensor:
    batch, _, height, width = features.shape
    return torch.empty(
        (batch, channels, height, width),
        dtype=features.dtype,
        device=features.device,
        memory_format=torch.channels_last,
    )


def _sizes(features: torch.Tensor) -> tuple[int, int]:
    """Pixels of all images, and groups."""
    batch, channels, height, width = features.shape
    groups = channels // _IN
    return batch * height * width, groups


def _steps(pixels: int) -> int:
    steps = _MOST_STEPS
    while steps > 1 and pixels < _LEAST_CHUNKS * steps * _PIXELS:
        steps //= 2
    return steps


def _by_tap(weights: torch.Tensor) -> torch.Tensor:
    """(4, C, 4, 3, 3) to (branches, taps, channels out, channels in, groups)."""
    branches, channels = weights.shape[:2]
    return weights.view(branches, channels // _OUT, _OUT, _IN, _TAPS).permute(0, 4, 2, 3, 1).contiguous()
