"""Models that are not ready when their constructor returns, or that cannot be copied."""

from typing import Any, NoReturn

import torch
from torch import nn


class Lazy(nn.Module):
    """Lazy layers, one of them used in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.LazyConv2d(4, 1)
        self.norm = nn.LazyBatchNorm2d()
        self.drop = nn.Dropout(0.2)
        self.last = nn.LazyConv2d(2, 1)
        self.extra_norm = nn.LazyBatchNorm2d()
        self.extra = nn.LazyConv2d(2, 1)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        middle = self.drop(self.norm(self.first(torch.cat([img_1, img_2], dim=1)).relu()))
        logits: torch.Tensor = self.last(middle)
        return logits + self.extra(self.extra_norm(middle)) if self.training else logits


class Unused(Lazy):
    """One of its lazy layers is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.LazyLinear(3)


class Normed(nn.Module):
    """The old weight_norm, whose weight is computed from two parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.weight_norm(nn.Conv2d(6, 4, 1))
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("factor", torch.rand(1) + 1, persistent=False)
        self.last = nn.utils.spectral_norm(nn.Conv2d(4, 2, 1))

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(
            self.norm(self.first(torch.cat([img_1, img_2], dim=1)).relu()) * self.factor
        )
        return logits


class Parametrized(nn.Module):
    """The new form of both."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.utils.parametrizations.weight_norm(nn.Conv2d(6, 4, 1))
        self.last = nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 2, 1))

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.last(self.first(torch.cat([img_1, img_2], dim=1)).relu())
        return logits


class NoCopy(Parametrized):
    """Refuses to be copied."""

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        raise TypeError("a handle cannot be copied")


class Once(NoCopy):
    """It cannot be built twice either."""

    built = False

    def __init__(self) -> None:
        if Once.built:
            raise ValueError("only one at a time")
        Once.built = True
        super().__init__()
