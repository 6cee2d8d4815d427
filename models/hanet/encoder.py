"""HANet's encoder: one image to feature maps of four resolutions."""

import torch
from torch import nn


class ResidualCell(nn.Module):
    """3x3 convolution, then batch norm, ReLU, 1x1 convolution and batch norm around a skip connection.

    The skip starts after the 3x3 convolution, so it needs no projection.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1)
        self.refinement = nn.Sequential(
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, kernel_size=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        features = self.convolution(features)
        refined: torch.Tensor = features + self.refinement(features)
        return refined.relu_()


class Encoder(nn.Module):
    """A 5x5 convolution, then four residual cells with 2x2 average pooling between them.

    The publication pools to fixed sizes of 128, 64 and 32 pixels, which ties it to inputs of
    256x256. There, 2x2 pooling gives the same bits; at other sizes it keeps the ratio.

    Args:
        in_channels: channels of an image.
        widths: channels of the four levels, finest first.
    """

    def __init__(self, in_channels: int, widths: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[0], kernel_size=5, padding=2)
        self.cells = nn.ModuleList(
            ResidualCell(before, after) for before, after in zip((widths[0], *widths), widths, strict=False)
        )
        self.pool = nn.AvgPool2d(kernel_size=2)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """One feature map per level, finest first.

        Args:
            image: (B, in_channels, H, W); H and W multiples of 8.

        Returns:
            Level k = 0..3: (B, widths[k], H / 2**k, W / 2**k).
        """
        features = self.stem(image)
        levels: list[torch.Tensor] = []
        for cell in self.cells:
            features = cell(self.pool(features) if levels else features)
            levels.append(features)
        return levels
