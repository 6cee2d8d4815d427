"""HANet: change detection with hierarchical attention.

    img_1 ─> Encoder ─┐ (same weights)      4 levels      4 levels
    img_2 ─> Encoder ─┴─> HierarchicalAttention per level ─> Decoder ─> logits

Source: Han, Wu, Guo, Hu, Chen, "HANet: A Hierarchical Attention Network for Change Detection With
Bitemporal Very-High-Resolution Remote Sensing Images", IEEE JSTARS 16, 2023,
DOI 10.1109/JSTARS.2023.3264802.
"""

import torch
from torch import nn

from pylon.models.hanet.decoder import Decoder
from pylon.models.hanet.encoder import Encoder
from pylon.models.hanet.hierarchical_attention import HierarchicalAttention
from pylon.models.image_pair import prepared_image_pair


class HANet(nn.Module):
    """HANet with the published arithmetic, for images of any size in multiples of 8.

    With the default arguments it has 2,611,564 parameters. The publication counts 3.03 million:
    417,880 of those belong to four convolutions that its code creates and never calls; they are
    not carried here.

    All other channel counts follow from `width`, with the published ones at 40: levels of 1, 2, 4
    and 8 widths; 4/5 width (rounded down) among which channel attention works; 2 widths in the head.

    The first logits are large (tens), as the head has no normalisation: expect a large first loss.
    Swapping the dates changes the result.

    Args:
        in_channels: channels of each image.
        num_classes: channels of the logits.
        width: channels of the finest level, even; 40 as published.
        exact_energy: True: channel attention exactly as published, which can overflow; see
            ChannelAttention.

    Raises:
        ValueError: `width` is odd or smaller than 2.
    """

    def __init__(
        self, in_channels: int = 3, num_classes: int = 2, width: int = 40, exact_energy: bool = False
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"width: {width}, expected an even number from 2 on (40 as published).")
        widths = (width, 2 * width, 4 * width, 8 * width)
        self.encoder = Encoder(in_channels, widths)
        self.attention = nn.ModuleList(
            HierarchicalAttention(channels, attention_channels=4 * width // 5, exact_energy=exact_energy)
            for channels in widths
        )
        self.decoder = Decoder(widths, hidden_channels=2 * width, num_classes=num_classes)
        self.apply(_initialise)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits of each pixel.

        Args:
            img_1, img_2: the earlier and the later image, (B, in_channels, H, W), floating point,
                normalised; H and W multiples of 8.

        Returns:
            (B, num_classes, H, W).

        Raises:
            ValueError: the images differ in shape, or a side is no multiple of 8.
        """
        # An H200 takes 60 ms for a step of 8 pairs of 256 x 256 in this order, 66 in the other.
        img_1, img_2 = prepared_image_pair(img_1, img_2, multiple_of=8, channels_last_on=("cpu", "cuda"))
        # Each date passes on its own: in training, batch norm then sees one date at a time, as published.
        levels_1, levels_2 = self.encoder(img_1), self.encoder(img_2)
        joined = [
            attend(level_1, level_2)
            for attend, level_1, level_2 in zip(self.attention, levels_1, levels_2, strict=True)
        ]
        logits: torch.Tensor = self.decoder(joined)
        return logits


def _initialise(module: nn.Module) -> None:
    """Kaiming normal weights for convolutions as published; biases and batch norm as torch makes them."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
