"""HANet's decoder and head: feature maps of four resolutions to logits."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from pylon.models.hanet.doubling import doubled
from pylon.models.hanet.plain import are_plain


class Decoder(nn.Module):
    """Concatenate all levels at full size, then a 1x1 and a 3x3 convolution with nothing between.

    As published, each level is doubled in size by bilinear interpolation and concatenated to the
    next finer one: sum(widths) channels at full size. Here each level passes its share of the 1x1
    convolution *before* it is enlarged. Both are linear and interpolation weights sum to 1, so the
    result is the same up to rounding, and the largest tensor of the network is never made (for one
    pair of 784x448: 0.8 GB at the default width).

    Args:
        widths: channels of the levels, finest first.
        hidden_channels: channels between the two convolutions.
        num_classes: channels of the result.
    """

    def __init__(self, widths: Sequence[int], hidden_channels: int, num_classes: int) -> None:
        super().__init__()
        self.widths = list(widths)
        self.mixture = nn.Conv2d(sum(widths), hidden_channels, kernel_size=1)
        self.classifier = nn.Conv2d(hidden_channels, num_classes, kernel_size=3, padding=1, bias=False)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """Logits at the size of the finest level.

        Args:
            levels: finest first; level k: (B, widths[k], H / 2**k, W / 2**k).

        Returns:
            (B, num_classes, H, W).
        """
        mixed = self._mixed(levels) if are_plain(self.mixture) else self.mixture(_concatenated(levels))
        logits: torch.Tensor = self.classifier(mixed)
        return logits

    def _mixed(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        shares = torch.split(self.mixture.weight, self.widths, dim=1)
        mixed = functional.conv2d(levels[-1], shares[-1], self.mixture.bias)
        for level, share in zip(reversed(levels[:-1]), reversed(shares[:-1]), strict=True):
            mixed = functional.conv2d(level, share).add_(doubled(mixed))
        return mixed


def _concatenated(levels: Sequence[torch.Tensor]) -> torch.Tensor:
    """As published: sum(widths) channels at the size of the finest level."""
    features = levels[-1]
    for level in reversed(levels[:-1]):
        features = torch.cat([level, doubled(features)], dim=1)
    return features
