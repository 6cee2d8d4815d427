"""Refuse to train a convolution whose gradients torch computes wrong.

torch 2.13 (oneDNN 3.12), on a processor with AVX-512, in bfloat16: the gradient of the weights of a 2-D
convolution in channels-last order, transposed or not, is garbage, at times NaN, if it is dilated along the
height, has a stride of 1, its result is wider than some 28 pixels, and the channels of a group are no
multiple of 16, as in depthwise convolutions. Right are float32, the usual order, and convolutions in one and
three dimensions. The loss may fall all the same.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pylon.runners.errors import TrainingError

_Convolution = nn.Conv2d | nn.ConvTranspose2d
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
        compiled: whether torch.compile takes all of the module; it then leaves the comparison as it is.
            What a model compiles itself is not compared.
    """
    if device.type != "cpu":
        return
    for name, one in module.named_modules():
        if isinstance(one, _Convolution) and _may_be_wrong(one):
            layer = f"{key}, layer {name!r}"
            hook = _ApartFromCompilers(layer) if compiled else functools.partial(_refuse_if_wrong, layer)
            one.register_forward_pre_hook(hook, with_kwargs=True)


def _may_be_wrong(convolution: _Convolution) -> bool:
    torchs = type(convolution).forward in {nn.Conv2d.forward, nn.ConvTranspose2d.forward}
    # Circular padding gives an image in the usual order.
    return torchs and convolution.padding_mode != "circular" and convolution.dilation[0] > 1


def _refuse_if_wrong(
    layer: str, convolution: _Convolution, inputs: tuple[Any, ...], named: dict[str, Any]
) -> None:
    if not torch.compiler.is_compiling():
        _compare(layer, convolution, inputs[0] if inputs else named["input"])


class _ApartFromCompilers:
    """The hook for a module that torch.compile takes: it is called as it is. It can be pickled."""

    def __init__(self, layer: str) -> None:
        self._layer = layer
        self._refuse = torch.compiler.disable(functools.partial(_refuse_if_wrong, layer))  # type: ignore[no-untyped-call]

    def __call__(self, *arguments: Any) -> None:  # noqa: ANN401 - a hook's
        self._refuse(*arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return _ApartFromCompilers, (self._layer,)


def _compare(layer: str, convolution: _Convolution, features: torch.Tensor) -> None:
    if not torch.is_grad_enabled() or _dtype(features) != torch.bfloat16 or features.ndim != 4:
        return
    if not any(parameter.requires_grad for parameter in convolution.parameters()):
        return
    if not _is_channels_last(features) and not _is_channels_last(_weight(convolution)):
        return
    difference = _difference(_geometry(convolution, features))
    if not difference < _TOLERANCE:
        raise TrainingError(
            f"{layer}: on this processor torch {torch.__version__} computes wrong gradients of its weights, "
            f"{_apart(difference)}. That is a fault of torch in bfloat16 with images in channels-last order; "
            f"here with a dilation of {convolution.dilation}, {convolution.in_channels} channels and "
            f"{convolution.groups} groups. Use stepping.args.precision='float32', or leave images and "
            "weights in the usual order (stepping.args.channels_last=False)."
        )


def _dtype(features: torch.Tensor) -> torch.dtype:
    # Autocast leaves float64 as it is.
    is_cast = torch.is_autocast_enabled("cpu") and features.dtype != torch.float64
    return torch.get_autocast_dtype("cpu") if is_cast else features.dtype


def _is_channels_last(tensor: torch.Tensor | None) -> bool:
    """Whether a convolution takes it so: the channels lie side by side, as in a part of such an image too."""
    return tensor is not None and tensor.stride(1) == 1 and tensor.shape[2:].numel() > 1


def _weight(convolution: _Convolution) -> torch.Tensor | None:
    """None if it is computed by a parametrization, which may change its state each time it is asked."""
    found: torch.Tensor | None = convolution._parameters.get("weight", vars(convolution).get("weight"))
    return found


def _apart(difference: float) -> str:
    if not math.isfinite(difference):
        return "not all finite numbers"
    return f"{100 * difference:.0f} % apart from those of float32, where rounding gives less than 1 %"


@dataclass(frozen=True)
class _Geometry:
    """What decides which kernel computes: the image's (C, H, W), and as of nn.Conv2d."""

    image: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    transposed: bool


def _geometry(convolution: _Convolution, features: torch.Tensor) -> _Geometry:
    channels = (convolution.out_channels, convolution.in_channels // convolution.groups)
    if convolution.transposed:
        channels = (convolution.in_channels, convolution.out_channels // convolution.groups)
    size, dilation = convolution.kernel_size, convolution.dilation
    reaches = [step * (side - 1) for step, side in zip(dilation, size, strict=True)]
    padding = convolution.padding
    if isinstance(padding, str):
        padding = (reaches[0] // 2, reaches[1] // 2) if padding == "same" else (0, 0)
    # Zeros are the kernel's own, other values those of a larger image.
    added = (0, 0) if convolution.padding_mode == "zeros" else padding
    sides = [side + 2 * more for side, more in zip(features.shape[-2:], added, strict=True)]
    return _Geometry(
        image=(
            features.shape[-3],
            *(min(side, max(_LONGEST_SIDE, reach + 1)) for side, reach in zip(sides, reaches, strict=True)),
        ),
        weight=(*channels, *size),
        stride=convolution.stride,
        padding=tuple(whole - more for whole, more in zip(padding, added, strict=True)),
        dilation=dilation,
        groups=convolution.groups,
        transposed=convolution.transposed,
    )


@functools.lru_cache(maxsize=1024)
def _difference(geometry: _Geometry) -> float:
    """Of the weights' gradient in bfloat16 from that in float32, relative to the latter's norm."""
    precise, found = (_gradient(geometry, dtype) for dtype in (torch.float32, torch.bfloat16))
    return float((found - precise).norm() / precise.norm())


@torch.no_grad()
def _gradient(geometry: _Geometry, dtype: torch.dtype) -> torch.Tensor:
    """Of the weights, without a graph: what the user's code does with graphs has no part in it."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape: int) -> torch.Tensor:
        # Values of bfloat16 in both dtypes, so that the difference is that of the kernels.
        return torch.randn(shape, generator=generator).bfloat16().to(dtype)

    image = random(1, *geometry.image).contiguous(memory_format=torch.channels_last)
    weight = random(*geometry.weight)
    options = (
        geometry.stride,
        geometry.padding,
        geometry.dilation,
        geometry.transposed,
        (0, 0),
        geometry.groups,
    )
    with torch.autocast("cpu", enabled=False):
        result = torch.ops.aten.convolution(image, weight, None, *options)
        seen = random(*result.shape).contiguous(memory_format=torch.channels_last)
        _, of_weight, _ = torch.ops.aten.convolution_backward(
            seen, image, weight, None, *options, (False, True, False)
        )
    return torch.as_tensor(of_weight).float()
