"""HANet's hierarchical attention module (HAN): joins the two dates at one resolution."""

import torch
from torch import nn

from pylon.models.hanet.attention import AxialAttention, ChannelAttention

DILATIONS = (1, 2, 3, 4)


class ParallelConvolutions(nn.Module):
    """Four grouped 3x3 convolutions of growing dilation side by side, mixed by a 1x1 convolution.

    A group takes four consecutive channels to two, so it sees one date only; the dates first meet
    in the 1x1 convolution.

    Args:
        channels: channels of one date and of the output; even.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Conv2d(
                2 * channels,
                channels,
                kernel_size=3,
                padding=dilation,
                dilation=dilation,
                groups=channels // 2,
            )
            for dilation in DILATIONS
        )
        self.mixture = nn.Conv2d(len(DILATIONS) * channels, channels, kernel_size=1)

    def forward(self, both_dates: torch.Tensor) -> torch.Tensor:
        """(B, 2 * channels, H, W) to (B, channels, H, W)."""
        joined = torch.cat([branch(both_dates) for branch in self.branches], dim=1)
        mixed: torch.Tensor = self.mixture(joined)
        return mixed


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
