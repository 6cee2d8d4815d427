"""PReLU with one slope for all channels, and a gradient that is fast on the CPU."""

from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from pylon.models.hanet.plain import is_traced


class PReLU(nn.PReLU):
    """As torch's, with one slope; on the CPU its gradient takes less time than that of torch 2.13."""

    def __init__(self) -> None:
        super().__init__(num_parameters=1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Any shape to the same."""
        # A tensor of another class may have no numbers, such as the one that stands for another in a trace.
        is_plain = type(input) is torch.Tensor and input.device.type == "cpu"
        if not is_plain or is_traced():
            return super().forward(input)
        result: torch.Tensor = _PReLU.apply(input, self.weight)  # type: ignore[no-untyped-call]
        return result


class _PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:  # noqa: ANN401
        ctx.save_for_backward(features, slope)
        return functional.prelu(features, slope.to(features.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401
        features, slope = ctx.saved_tensors
        of_features = torch.ops.aten.leaky_relu_backward(gradient, features, slope.item(), False)
        # Of the negative ones; 0 elsewhere, also where the gradient is infinite.
        of_negative = torch.ops.aten.threshold_backward(gradient, -features, 0)
        return of_features, (features * of_negative).sum(dtype=slope.dtype).view_as(slope)
