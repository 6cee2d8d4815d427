"""FC-EF, FC-Siam-conc and FC-Siam-diff: small U-Nets for change detection.

Source: Daudt, Le Saux, Boulch, "Fully Convolutional Siamese Networks for Change Detection", ICIP
2018, arXiv:1810.08462. Details that the paper leaves open follow the authors' published code:
dropout of whole channels with probability 0.2, transposed convolutions throughout the decoder, and
in the Siamese networks the coarsest features are those of the later image.

The authors' networks end in a log-softmax; these give logits, as every model here does.
"""

import torch
from torch import nn

from pylon.models.fc_siam.blocks import Decoder, Encoder
from pylon.models.image_pair import prepared_image_pair

MINIMUM_SIDE = 16  # four poolings of 2x2 leave nothing of a smaller image


class FCEF(nn.Module):
    """FC-EF, early fusion: one U-Net over the concatenated images.

    1,350,578 parameters with the default arguments.

    Args:
        in_channels: channels of each image.
        num_classes: channels of the logits.
        width: channels of the first stage; 16 as published.
        dropout: probability of dropping a channel, 0..1.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 2, width: int = 16, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.encoder = Encoder(2 * in_channels, width, dropout)
        self.decoder = Decoder(width, 1, num_classes, dropout)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel.

        Args:
            img_1, img_2: the earlier and the later image, (B, in_channels, H, W), floating point;
                H and W at least 16.

        Returns:
            (B, num_classes, H, W).

        Raises:
            ValueError: the images differ in shape or are too small.
        """
        img_1, img_2 = prepared_image_pair(img_1, img_2, minimum=MINIMUM_SIDE)
        skips, features = self.encoder(torch.cat([img_1, img_2], dim=1))
        logits: torch.Tensor = self.decoder(features, [[skip] for skip in skips])
        return logits


class FCSiamConc(nn.Module):
    """FC-Siam-conc: one encoder for both images; the decoder is given the features of both.

    1,545,986 parameters with the default arguments.

    Args:
        in_channels: channels of each image.
        num_classes: channels of the logits.
        width: channels of the first stage; 16 as published.
        dropout: probability of dropping a channel, 0..1.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 2, width: int = 16, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, width, dropout)
        self.decoder = Decoder(width, 2, num_classes, dropout)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """As `FCEF.forward`."""
        img_1, img_2 = prepared_image_pair(img_1, img_2, minimum=MINIMUM_SIDE)
        skips_1, _ = self.encoder(img_1)
        skips_2, features = self.encoder(img_2)
        logits: torch.Tensor = self.decoder(features, list(zip(skips_1, skips_2, strict=True)))
        return logits


class FCSiamDiff(nn.Module):
    """FC-Siam-diff: one encoder for both images; the decoder is given how far their features differ.

    1,350,146 parameters with the default arguments.

    Args:
        in_channels: channels of each image.
        num_classes: channels of the logits.
        width: channels of the first stage; 16 as published.
        dropout: probability of dropping a channel, 0..1.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 2, width: int = 16, dropout: float = 0.2
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, width, dropout)
        self.decoder = Decoder(width, 1, num_classes, dropout)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """As `FCEF.forward`."""
        img_1, img_2 = prepared_image_pair(img_1, img_2, minimum=MINIMUM_SIDE)
        skips_1, _ = self.encoder(img_1)
        skips_2, features = self.encoder(img_2)
        differences = [[torch.abs(skip_1 - skip_2)] for skip_1, skip_2 in zip(skips_1, skips_2, strict=True)]
        logits: torch.Tensor = self.decoder(features, differences)
        return logits
