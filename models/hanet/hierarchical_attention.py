"""HANet's hierarchical attention module (HAN): joins the two dates at one resolution."""

from typing import cast

import torch
from torch import nn
from torch.nn import functional

from pylon.models.hanet.attention import AxialAttention, ChannelAttention
from pylon.models.hanet.gpu.choice import take_kernels
from pylon.models.hanet.plain import are_plain
from pylon.models.hanet.precision import computing_dtype
from pylon.models.hanet.prelu import PReLU

DILATIONS = (1, 2, 3, 4)


class GroupedConvolution(nn.Conv2d):
    """A 3x3 convolution that takes each four channels to two and keeps the size.

    On the CPU, torch 2.13 has no fast kernel for so small groups (pytorch#183815): several are computed as
    one, whose weights between the groups are 0. Twice the products take 0.9 times as long in float32, and
    four times the products 0.4 times as long in bfloat16. There, in channels-last order and with a dilation,
    the weights' gradient of torch 2.13 is wrong but for groups of 16 channels: what cannot be joined to
    such groups is computed in float32.

    Args:
        channels: of the result; the input has twice as many.
        dilation: pixels between neighbours of the kernel.
    """

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            2 * channels, channels, kernel_size=3, padding=dilation, dilation=dilation, groups=channels // 2
        )

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(B, 2 * channels, H, W) to (B, channels, H, W)."""
        return self.convolved(input, self.bias)

    def convolved(self, input: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """As `forward`, with another bias or none."""
        if input.device.type != "cpu":
            convolved: torch.Tensor = self._conv_forward(input, self.weight, bias)
            return convolved
        dtype = computing_dtype(input)
        if dtype == torch.bfloat16 and self.groups % 4:
            with torch.autocast("cpu", enabled=False):
                precise = None if bias is None else bias.float()
                return self._joined(input.float(), self.weight.float(), precise).to(dtype)
        return self._joined(input, self.weight, bias)

    def _joined(self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """Four groups as one in bfloat16, else two, if their number allows it."""
        joined = 4 if computing_dtype(input) == torch.bfloat16 else 2 - self.groups % 2
        same_group = torch.eye(joined, dtype=weight.dtype)[:, None, :, None, None, None]
        # (groups, joined, 2, joined, 4, 3, 3): from each of the joined groups to each.
        wide = weight.view(-1, joined, 2, 1, 4, 3, 3) * same_group
        return functional.conv2d(
            input,
            wide.reshape(self.out_channels, 4 * joined, 3, 3),
            bias,
            padding=self.padding,
            dilation=self.dilation,
            groups=self.groups // joined,
        )


class ParallelConvolutions(nn.Module):
    """Four grouped 3x3 convolutions of growing dilation side by side, mixed by a 1x1 convolution.

    A group takes four consecutive channels to two, so it sees one date only; the dates first meet
    in the 1x1 convolution.

    Args:
        channels: channels of one date and of the output; even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(GroupedConvolution(channels, dilation) for dilation in DILATIONS)
        self.mixture = nn.Conv2d(len(DILATIONS) * channels, channels, kernel_size=1)

    def forward(self, both_dates: torch.Tensor) -> torch.Tensor:
        """(B, 2 * channels, H, W) to (B, channels, H, W)."""
        mixed: torch.Tensor
        branches = cast("list[GroupedConvolution]", list(self.branches))
        if not are_plain(*branches, self.mixture):
            mixed = self.mixture(torch.cat([branch(both_dates) for branch in branches], dim=1))
            return mixed
        if take_kernels(both_dates):
            mixed = self.mixture(_side_by_side(branches, both_dates))
            return mixed
        # Each branch passes its share of the mixture, and their biases all of it.
        biases = torch.cat([cast("torch.Tensor", branch.bias) for branch in branches])
        bias = functional.linear(biases, self.mixture.weight.flatten(1), self.mixture.bias)
        first, *others = self.mixture.weight.chunk(len(branches), dim=1)
        mixed = functional.conv2d(branches[0].convolved(both_dates, None), first, bias)
        for branch, share in zip(branches[1:], others, strict=True):
            mixed += functional.conv2d(branch.convolved(both_dates, None), share)
        return mixed


def _side_by_side(branches: list[GroupedConvolution], both_dates: torch.Tensor) -> torch.Tensor:
    """(B, 2 * channels, H, W) to (B, 4 * channels, H, W), by own kernels."""
    both_dates = both_dates.to(computing_dtype(both_dates))
    weights = torch.stack([branch.weight for branch in branches])
    biases = torch.stack([cast("torch.Tensor", branch.bias) for branch in branches])
    joined: torch.Tensor = torch.ops.pylon.parallel_convolutions(both_dates, weights, biases)
    return joined


class HierarchicalAttention(nn.Module):
    """Parallel convolutions over both dates; then channel attention plus column and row attention.

    Args:
        channels: channels of one date and of the output; even.
        attention_channels: channels among which the channel attention works.
        exact_energy: see ChannelAttention.
    """

    def __init__(self, channels: int, attention_channels: int, exact_energy: bool) -> None:
        super().__init__()
        self.parallel = ParallelConvolutions(channels)
        self.channel_branch = nn.Sequential(
            nn.Conv2d(channels, attention_channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(attention_channels),
            PReLU(),
            ChannelAttention(exact_energy),
            nn.Conv2d(attention_channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            PReLU(),
        )
        self.axial_branch = nn.Sequential(AxialAttention(channels, "column"), AxialAttention(channels, "row"))

    def forward(self, features_1: torch.Tensor, features_2: torch.Tensor) -> torch.Tensor:
        """Features of both dates, (B, channels, H, W) each, to (B, channels, H, W)."""
        features = self.parallel(torch.cat([features_1, features_2], dim=1))
        joined: torch.Tensor = self.channel_branch(features) + self.axial_branch(features)
        return joined
