"""Encoder and decoder that the three fully convolutional change detectors share."""

from collections.abc import Iterable, Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional


def encoder_stages(in_channels: int, width: int) -> tuple[tuple[int, ...], ...]:
    """Channels along each encoder stage, input included, finest stage first."""
    w1, w2, w3, w4 = (width * factor for factor in (1, 2, 4, 8))
    return (in_channels, w1, w1), (w1, w2, w2), (w2, w3, w3, w3), (w3, w4, w4, w4)


def _normalised(convolution: nn.Module, channels: int, dropout: float) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(channels), nn.ReLU(), nn.Dropout2d(dropout)]


class Encoder(nn.Module):
    """Four stages of 3x3 convolutions, each followed by 2x2 max pooling.

    Every convolution is followed by batch norm, ReLU and dropout of whole channels.

    Args:
        in_channels: channels of the input.
        width: channels of the first stage; the others have 2, 4 and 8 times as many.
        dropout: probability of dropping a channel.
    """

    def __init__(self, in_channels: int, width: int, dropout: float) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(
                *(
                    layer
                    for before, after in pairwise(stage)
                    for layer in _normalised(nn.Conv2d(before, after, 3, padding=1), after, dropout)
                )
            )
            for stage in encoder_stages(in_channels, width)
        )

    def forward(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Features of each stage, and the pooled features of the last.

        Args:
            image: (B, in_channels, H, W); H and W at least 16.

        Returns:
            Stage k = 0..3: (B, width * 2**k, H // 2**k, W // 2**k), finest first; and
            (B, 8 * width, H // 16, W // 16).
        """
        skips: list[torch.Tensor] = []
        for stage in self.stages:
            skips.append(stage(image))
            image = functional.max_pool2d(skips[-1], kernel_size=2)
        return skips, image


class DecoderStage(nn.Module):
    """Double the size with a transposed convolution, append the skipped features, convolve.

    All convolutions are transposed ones, as in the authors' code: with stride 1 that is an ordinary
    convolution with another initial scale.

    Args:
        skip_channels: channels of all skipped features together.
        channels: along the stage: of the input, then after each convolution.
        dropout: probability of dropping a channel.
        last: the last convolution gives logits, so nothing follows it.
    """

    def __init__(self, skip_channels: int, channels: Sequence[int], dropout: float, last: bool) -> None:
        super().__init__()
        first = channels[0]
        self.enlargement = nn.ConvTranspose2d(
            first, first, kernel_size=3, stride=2, padding=1, output_padding=1
        )
        layers: list[nn.Module] = []
        for before, after in pairwise((first + skip_channels, *channels[1:])):
            layers += _normalised(nn.ConvTranspose2d(before, after, 3, padding=1), after, dropout)
        self.convolutions = nn.Sequential(*(layers[:-3] if last else layers))

    def forward(self, features: torch.Tensor, skips: Iterable[torch.Tensor]) -> torch.Tensor:
        """(B, C, h, w) and skipped features (B, ..., H, W) to (B, channels[-1], H, W)."""
        skipped = torch.cat(list(skips), dim=1)
        enlarged = self.enlargement(features)
        # Pooling drops the last row or column of an odd size; repeating the edge brings it back.
        missing_rows = skipped.shape[-2] - enlarged.shape[-2]
        missing_columns = skipped.shape[-1] - enlarged.shape[-1]
        enlarged = functional.pad(enlarged, (0, missing_columns, 0, missing_rows), mode="replicate")
        decoded: torch.Tensor = self.convolutions(torch.cat([enlarged, skipped], dim=1))
        return decoded


class Decoder(nn.Module):
    """Four stages from the coarsest features back to the size of the image.

    Args:
        width: as the encoder's.
        skips_per_stage: how many feature maps of the encoder's stage each decoder stage is given.
        num_classes: channels of the logits.
        dropout: probability of dropping a channel.
    """

    def __init__(self, width: int, skips_per_stage: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        w1, w2, w3, w4 = (width * factor for factor in (1, 2, 4, 8))
        channels = ((w4, w4, w4, w3), (w3, w3, w3, w2), (w2, w2, w1), (w1, w1, num_classes))
        self.stages = nn.ModuleList(
            DecoderStage(skips_per_stage * stage[0], stage, dropout, last=stage is channels[-1])
            for stage in channels
        )

    def forward(self, features: torch.Tensor, skips: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
        """Logits (B, num_classes, H, W).

        Args:
            features: (B, 8 * width, H // 16, W // 16).
            skips: for each encoder stage, finest first, the feature maps to append.
        """
        for stage, skipped in zip(self.stages, reversed(skips), strict=True):
            features = stage(features, skipped)
        return features
