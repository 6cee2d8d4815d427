"""Refuse to train a convolution whose gradients torch computes wrong.

torch 2.13 (oneDNN 3.12), on a processor with AVX-512, in bfloat16: the gradient of the weights of a 2-D
convolution in channels-last order is garbage, at times NaN, if it is dilated along the height, has a stride
of 1 and a padding (or is transposed), the image is wider than some 30 pixels, and the channels of a group are
no multiple of 16, as in depthwise convolutions. Right are float32, the usual order, and convolutions in one
and three dimensions. The loss may fall all the same.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pylon.runners.errors import TrainingError

_Convolution = nn.Conv2d | nn.ConvTranspose2d
_OPTIONS = ("stride", "padding", "dilation", "groups")
# Of the norm of the gradient; rounding to bfloat16 gives 0.003.
_TOLERANCE = 0.05
# Pixels. Large images would take much memory, and the fault was the same from 31 to 256.
_LONGEST_SIDE = 128


def watch_convolutions(key: str, module: nn.Module, device: torch.device, *, compiled: bool) -> None:
    """Let each dilated convolution compare, when it is first trained, its gradient with that of float32.

    It takes random numbers, once for each shape that it is given, of one image of at most 128 x 128 pixels
    (or the size of the kernel). On an accelerator nothing happens.

    Args:
        key: of the module in the configuration.
        module: what holds the convolutions.
        device: of the training.
        compiled: whether torch.compile takes the module; it leaves the comparison as it is.
    """
    if device.type != "cpu":
        return
    for name, one in module.named_modules():
        if isinstance(one, _Convolution) and _may_be_wrong(one):
            hook = functools.partial(_refuse_if_wrong, f"{key}, layer {name!r}")
            if compiled:
                hook = torch.compiler.disable(hook)  # type: ignore[no-untyped-call]
            one.register_forward_pre_hook(hook, with_kwargs=True)


def _may_be_wrong(convolution: _Convolution) -> bool:
    torchs = type(convolution).forward in {nn.Conv2d.forward, nn.ConvTranspose2d.forward}
    return torchs and convolution.padding_mode == "zeros" and convolution.dilation[0] > 1


def _refuse_if_wrong(
    layer: str, convolution: _Convolution, inputs: tuple[Any, ...], named: dict[str, Any]
) -> None:
    features = inputs[0] if inputs else named["input"]
    if not torch.is_grad_enabled() or not convolution.weight.requires_grad:
        return
    if _dtype(features) != torch.bfloat16 or not _is_channels_last(features, convolution.weight):
        return
    options = {name: getattr(convolution, name) for name in _OPTIONS}
    difference = _difference(
        _Geometry(
            (features.shape[-3], *_sides(features, convolution)),
            convolution.weight.shape,
            transposed=convolution.transposed,
            **options,
        )
    )
    if not difference < _TOLERANCE:
        raise TrainingError(
            f"{layer}: on this processor torch {torch.__version__} computes wrong gradients of its weights, "
            f"{_apart(difference)}. That is a fault of torch in bfloat16 with images in channels-last order; "
            f"here with a dilation of {convolution.dilation} and weights of the shape "
            f"{tuple(convolution.weight.shape)}. Use "
            "stepping.args.precision='float32', or leave images and weights in the usual order "
            "(stepping.args.channels_last=False)."
        )


def _sides(features: torch.Tensor, convolution: _Convolution) -> list[int]:
    """Height and width of the image to compare with."""
    reaches = (
        dilation * (size - 1) + 1
        for dilation, size in zip(convolution.dilation, convolution.kernel_size, strict=True)
    )
    sides = zip(features.shape[-2:], reaches, strict=True)
    return [min(side, max(_LONGEST_SIDE, reach)) for side, reach in sides]


def _apart(difference: float) -> str:
    if not math.isfinite(difference):
        return "not all finite numbers"
    return f"{100 * difference:.0f} % apart from those of float32, where rounding gives less than 1 %"


def _dtype(features: torch.Tensor) -> torch.dtype:
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else features.dtype


def _is_channels_last(*tensors: torch.Tensor) -> bool:
    """Whether one of them is, and is not in the usual order at once, so that the convolution takes it."""
    return any(
        tensor.ndim == 4
        and tensor.is_contiguous(memory_format=torch.channels_last)
        and not tensor.is_contiguous()
        for tensor in tensors
    )


@dataclass(frozen=True)
class _Geometry:
    """What decides which kernel computes: the image's (C, H, W), and as of nn.Conv2d."""

    image: tuple[int, ...]
    weight: torch.Size
    stride: tuple[int, ...]
    padding: str | tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool


@functools.lru_cache(maxsize=1024)
def _difference(geometry: _Geometry) -> float:
    """Of the weights' gradient in bfloat16 from that in float32, relative to the latter's norm."""
    precise, found = (_gradient(geometry, dtype) for dtype in (torch.float32, torch.bfloat16))
    return float((found - precise).norm() / precise.norm())


def _gradient(geometry: _Geometry, dtype: torch.dtype) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        # Values of bfloat16 in both dtypes, so that the difference is that of the kernels.
        return torch.randn(shape, generator=generator).bfloat16().to(dtype)

    image = random(1, *geometry.image).contiguous(memory_format=torch.channels_last)
    weight = random(*geometry.weight).requires_grad_()
    with torch.autocast("cpu", enabled=False):
        result = _convolved(geometry, image, weight)
        (of_weight,) = torch.autograd.grad(result, weight, random(*result.shape))
    return of_weight.float()


def _convolved(geometry: _Geometry, image: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    function = nn.functional.conv_transpose2d if geometry.transposed else nn.functional.conv2d
    options = {name: getattr(geometry, name) for name in _OPTIONS}
    result: torch.Tensor = function(image, weight, **options)
    return result
