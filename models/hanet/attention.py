"""HANet's three attentions: among channels, among the pixels of a column, and of a row.

Each adds what it attended to its input, times a learnt scalar `gamma` that starts at 0: a new
model begins as if it had none.
"""

import math
from typing import Literal, cast

import torch
from torch import nn
from torch.nn import functional

from pylon.models.hanet import line_attention
from pylon.models.hanet.plain import are_plain
from pylon.models.hanet.precision import computing_dtype, without_autocast

# Of one of the products that are added up.
_LEAST_PIXELS = 1024


class ChannelAttention(nn.Module):
    """Every channel becomes a mixture of all channels, the less alike ones weighing more.

    With X the features as (C, HW), the energy of two channels is E = X X^T; a channel's weights are
    the softmax over its row of (row maximum - E). There are no projections.

    The energy sums over all H * W pixels, so it grows with the image and overflows half precision
    at once, single precision when training diverges. By default it is divided by sqrt(H * W), as
    attention divides a product of d numbers by sqrt(d), and computed in at least single precision;
    the softmax is then also less often one-hot. `gamma` starts at 0, so both forms are equal before
    the first training step.

    Args:
        exact_energy: True: the published energy, undivided, in the precision of the input.

    Source:
        Fu et al., "Dual Attention Network for Scene Segmentation", CVPR 2019, section 3.3, which
        HANet takes over; the division is ours.
    """

    def __init__(self, exact_energy: bool = False) -> None:
        super().__init__()
        self.exact_energy = exact_energy
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        channels = features.flatten(start_dim=2)
        energy = self._energy(channels)
        weights = functional.softmax(energy.amax(dim=-1, keepdim=True) - energy, dim=-1)
        # As (B, HW, C): in channels-last order no product is copied into another.
        mixtures = (self.gamma * weights).to(channels.dtype).transpose(1, 2)
        attended = torch.bmm(channels.transpose(1, 2), mixtures).transpose(1, 2)
        return features + attended.view_as(features)

    def _energy(self, channels: torch.Tensor) -> torch.Tensor:
        """(B, C, HW) to (B, C, C)."""
        if self.exact_energy:
            return products_of_channels(channels, _parts(channels))
        with without_autocast(channels):
            precise = channels.to(torch.promote_types(channels.dtype, torch.float32))
            # Half of the division goes to each factor, so that the product is never larger than its result.
            return products_of_channels(precise * channels.shape[-1] ** -0.25, _parts(channels))


def _parts(channels: torch.Tensor) -> int:
    """As how many products X X^T is computed: of few rows and very many columns, one leaves a GPU idle."""
    pixels = channels.shape[-1]
    parts = math.gcd(pixels, 2**20) if channels.device.type == "cuda" else 1
    while parts > 1 and pixels // parts < _LEAST_PIXELS:
        parts //= 2
    return parts


def products_of_channels(channels: torch.Tensor, parts: int) -> torch.Tensor:
    """X X^T, of (B, C, HW) to (B, C, C), as the sum of as many products; `parts` divides HW."""
    if parts == 1:
        return torch.bmm(channels, channels.transpose(1, 2))
    batch, count, pixels = channels.shape
    several = channels.view(batch, count, parts, pixels // parts).transpose(1, 2)
    return torch.matmul(several, several.transpose(2, 3)).sum(dim=1)


class AxialAttention(nn.Module):
    """Every pixel attends to the pixels of its own column, or of its own row.

    Query, key and value are 1x1 convolutions with bias, from all channels to as many; the energy is
    their plain dot product, not scaled, and the weights its softmax over the keys. Up to rounding the same
    is computed with two projections in place of three, of the pixels to queries and of their mixtures.

    Args:
        channels: channels of input and output.
        axis: 'column' or 'row': which pixels see each other.
    """

    def __init__(self, channels: int, axis: Literal["column", "row"]) -> None:
        super().__init__()
        self.axis = axis
        self.query = nn.Conv2d(channels, channels, kernel_size=1)
        self.key = nn.Conv2d(channels, channels, kernel_size=1)
        self.value = nn.Conv2d(channels, channels, kernel_size=1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to the same shape."""
        lines = features.transpose(2, 3) if self.axis == "column" else features
        # As (B, C, lines, pixels of the line), channels last.
        lines = lines.to(computing_dtype(features)).contiguous(memory_format=torch.channels_last)
        attended = self._attended(lines)
        return features + (attended.transpose(2, 3) if self.axis == "column" else attended)

    def _attended(self, lines: torch.Tensor) -> torch.Tensor:
        """(B, C, lines, pixels of a line) to the same shape: what attention adds, times `gamma`."""
        if are_plain(self.query, self.key, self.value):
            mixtures = _mixtures(functional.conv2d(lines, *self._energy_projection()), lines)
            return functional.conv2d(mixtures, *self._value_projection())
        query, key, value = (_in_lines(layer(lines)) for layer in (self.query, self.key, self.value))
        attended = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
        return self.gamma * attended.permute(0, 3, 1, 2)

    def _energy_projection(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of what the energies of a pixel multiply all pixels of its line with.

        For pixels x and y, (Wq x + bq)'(Wk y + bk) is (Wk'Wq x + Wk'bq)'y plus what does not depend on y,
        which no softmax over y sees. So the bias of the keys has no effect, and 0 as its gradient.
        """
        key = self.key.weight.flatten(1).transpose(0, 1)
        weight = key @ self.query.weight.flatten(1)
        query_bias, key_bias = (cast("torch.Tensor", layer.bias) for layer in (self.query, self.key))
        return weight[:, :, None, None], torch.addmv(key_bias, key, query_bias, beta=0)

    def _value_projection(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the values, times `gamma`.

        As the weights of a mixture sum to 1, the mixture of the values is the value of the mixture.
        """
        return self.gamma * self.value.weight, self.gamma * cast("torch.Tensor", self.value.bias)


def _mixtures(queries: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Softmax of the unscaled energies times the pixels, all as (B, C, lines, pixels of a line)."""
    queries, pixels = _in_lines(queries), _in_lines(pixels)
    if line_attention.takes(queries):
        mixtures = line_attention.attend(queries, pixels)
    else:
        mixtures = functional.scaled_dot_product_attention(queries, pixels, pixels, scale=1.0)
    return mixtures.permute(0, 3, 1, 2)


def _in_lines(image: torch.Tensor) -> torch.Tensor:
    """As (B, lines, pixels of a line, C): the lines take the place of attention heads."""
    return image.permute(0, 2, 3, 1).contiguous()
