"""HANet's GPU kernels in Triton's interpreter, as JSON: the largest differences from torch, relative.

A program of its own: Triton reads TRITON_INTERPRET when the kernels are imported.
"""

import json
import os
import sys

os.environ["TRITON_INTERPRET"] = "1"

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pylon.models import HANet
from pylon.models.hanet import hierarchical_attention
from pylon.models.hanet.gpu.convolutions import _gradients, parallel_convolutions
from pylon.models.hanet.gpu.trial import largest_difference, relative_difference

# Fewer groups than a program takes, as many, more of them; several images, one column, one row.
SHAPES = [(2, 6, 9, 7), (1, 16, 5, 1), (1, 36, 1, 3)]

KINDS = [
    (torch.float32, torch.contiguous_format),
    (torch.float32, torch.channels_last),
    (torch.bfloat16, torch.channels_last),
]


def of_hanet() -> float:
    """Logits and gradients of a whole model with the kernels, next to one without."""
    torch.manual_seed(0)
    model = HANet(width=4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.1)
    images = torch.randn(2, 1, 3, 16, 8)
    found = []
    for takes in (False, True):
        hierarchical_attention.take_kernels = lambda features, takes=takes: takes
        logits = model(*images)
        gradients = torch.autograd.grad(logits.square().mean(), list(model.parameters()))
        # Together: that of a bias before a batch norm is rounding alone.
        found.append([logits, torch.cat([one.flatten() for one in gradients])])
    return max(float(relative_difference(one, other)) for one, other in zip(*reversed(found), strict=True))


def other_shapes() -> list[str]:
    """Where torch.compile would take other strides or dtypes of gradients than the kernels give."""
    found = []
    for channels, layout in [
        (2, torch.contiguous_format),
        (4, torch.contiguous_format),
        (4, torch.channels_last),
    ]:
        branches = [torch.randn(channels, 4, 3, 3).to(memory_format=layout) for _ in range(4)]
        for dtype in (torch.float32, torch.bfloat16):
            given = (
                torch.randn(1, 4 * channels, 4, 4), torch.randn(1, 2 * channels, 4, 4),
                torch.stack(branches).to(dtype),
            )  # fmt: skip
            with FakeTensorMode() as mode:
                expected = _gradients(*map(mode.from_tensor, given))
            for name, one, other in zip(
                ("features", "weights", "biases"), _gradients(*given), expected, strict=True
            ):
                if (one.stride(), one.dtype) != (other.stride(), other.dtype):
                    found.append(f"{name} of {channels} channels, {layout}, {dtype}")
    return found


def main() -> None:
    result = {"convolutions": {}, "hanet": of_hanet(), "other shapes": other_shapes()}
    for shape in SHAPES:
        for dtype, layout in KINDS:
            result["convolutions"][f"{shape} {dtype} {layout}"] = largest_difference(
                parallel_convolutions, shape, device=torch.device("cpu"), dtype=dtype, memory_format=layout
            )
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    main()
