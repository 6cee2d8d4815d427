"""HANet's hierarchical attention module (HAN): joins the two dates at one resolution."""

import torch
from torch import nn
from torch.nn import functional

from pylon.models.hanet.attention import AxialAttention, ChannelAttention
from pylon.models.hanet.gpu.choice import take_kernels

DILATIONS = (1, 2, 3, 4)


class GroupedConvolution(nn.Conv2d):
    """A 3x3 convolution that takes each four channels to two and keeps the size.

    On the CPU, bfloat16 has no fast kernel for so small groups (pytorch#183815): several are then computed
    as one, whose weights between the groups are 0. Four times the products take 0.4 times as long.

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
        joined = next((number for number in (4, 2) if self.groups % number == 0), 1)
        if joined == 1 or not _computes_in_bfloat16_on_cpu(input):
            return super().forward(input)
        groups = self.groups // joined
        weight = self.weight.view(groups, joined, 2, 4, 3, 3)
        same_group = torch.eye(joined, dtype=weight.dtype)[:, None, :, None, None, None]
        # (groups, joined, 2, joined, 4, 3, 3): from each of the joined groups to each.
        wide = weight[:, :, :, None] * same_group
        return functional.conv2d(
            input,
            wide.reshape(self.out_channels, 4 * joined, 3, 3),
            self.bias,
            padding=self.padding,
            dilation=self.dilation,
            groups=groups,
        )


def _computes_in_bfloat16_on_cpu(features: torch.Tensor) -> bool:
    if features.device.type != "cpu":
        return False
    autocast = torch.is_autocast_enabled("cpu")
    return (torch.get_autocast_dtype("cpu") if autocast else features.dtype) == torch.bfloat16


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
        mixed: torch.Tensor = self.mixture(self._side_by_side(both_dates))
        return mixed

    def _side_by_side(self, both_dates: torch.Tensor) -> torch.Tensor:
        """(B, 2 * channels, H, W) to (B, 4 * channels, H, W)."""
        if not take_kernels(both_dates):
            return torch.cat([branch(both_dates) for branch in self.branches], dim=1)
        if torch.is_autocast_enabled("cuda"):
            both_dates = both_dates.to(torch.get_autocast_dtype("cuda"))
        weights, biases = (
            torch.stack([branch.get_parameter(name) for branch in self.branches])
            for name in ("weight", "bias")
        )
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
            nn.PReLU(),
            ChannelAttention(exact_energy),
            nn.Conv2d(attention_channels, channels, kernel_size=3, padding=1),
            nn.BatchNorm2d(channels),
            nn.PReLU(),
        )
        self.axial_branch = nn.Sequential(AxialAttention(channels, "column"), AxialAttention(channels, "row"))

    def forward(self, features_1: torch.Tensor, features_2: torch.Tensor) -> torch.Tensor:
        """Features of both dates, (B, channels, H, W) each, to (B, channels, H, W)."""
        features = self.parallel(torch.cat([features_1, features_2], dim=1))
        joined: torch.Tensor = self.channel_branch(features) + self.axial_branch(features)
        return joined
