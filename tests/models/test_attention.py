"""HANet's attentions against slow loops, and their numbers at the edge of a type's range."""

import math
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from pylon.models.hanet.attention import AxialAttention, ChannelAttention, products_of_channels

Array = NDArray[np.float64]


def random_features(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)


def softmax(energies: Array) -> Array:
    exponentials = np.exp(energies - energies.max())
    weights: Array = exponentials / exponentials.sum()
    return weights


def channel_attention_by_hand(features: torch.Tensor, gamma: float, divisor: float) -> Array:
    x = features.numpy()
    result = np.empty_like(x)
    for b in range(x.shape[0]):
        for i in range(x.shape[1]):
            energies = np.array([(x[b, i] * x[b, j]).sum() / divisor for j in range(x.shape[1])])
            weights = softmax(energies.max() - energies)
            attended = sum(weights[j] * x[b, j] for j in range(x.shape[1]))
            result[b, i] = gamma * attended + x[b, i]
    return result


def axial_attention_by_hand(module: AxialAttention, features: torch.Tensor) -> Array:
    x = features.numpy()
    query, key, value = (
        np.einsum("oi,bihw->bohw", layer.weight.detach().numpy()[:, :, 0, 0], x)
        + layer.bias.detach().numpy()[:, None, None]
        for layer in (module.query, module.key, module.value)
        if layer.bias is not None
    )
    result = np.empty_like(x)
    for b, y, column in np.ndindex(x.shape[0], *x.shape[2:]):
        if module.axis == "column":
            keys, values = key[b, :, :, column], value[b, :, :, column]
        else:
            keys, values = key[b, :, y, :], value[b, :, y, :]
        weights = softmax(query[b, :, y, column] @ keys)
        result[b, :, y, column] = module.gamma.item() * (values @ weights) + x[b, :, y, column]
    return result


@pytest.mark.parametrize("exact_energy", [False, True])
def test_channel_attention_is_what_its_formula_says(exact_energy: bool) -> None:
    features = random_features(2, 5, 4, 6)
    module = ChannelAttention(exact_energy).double()
    module.gamma.data.fill_(0.7)
    expected = channel_attention_by_hand(features, 0.7, 1.0 if exact_energy else math.sqrt(24))
    assert np.allclose(module(features).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("axis", ["column", "row"])
@pytest.mark.parametrize("size", [(4, 6), (6, 4), (1, 5), (5, 1)])
def test_axial_attention_is_what_its_formula_says(
    axis: Literal["column", "row"], size: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    module = AxialAttention(3, axis).double()
    module.gamma.data.fill_(0.7)
    features = random_features(2, 3, *size)
    expected = axial_attention_by_hand(module, features)
    assert np.allclose(module(features).detach().numpy(), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("axis", ["column", "row"])
def test_axial_attention_in_single_precision_and_training_agrees_with_explicit_softmax(
    axis: Literal["column", "row"],
) -> None:
    torch.manual_seed(0)
    module = AxialAttention(8, axis)
    module.gamma.data.fill_(1.0)
    features = 3 * random_features(2, 8, 16, 24).float()
    order = (0, 3, 2, 1) if axis == "column" else (0, 2, 3, 1)
    query, key, value = (layer(features).permute(order) for layer in (module.query, module.key, module.value))
    attended = torch.softmax(query @ key.transpose(-1, -2), dim=-1) @ value
    explicit = attended.permute((0, 3, 2, 1) if axis == "column" else (0, 3, 1, 2)) + features
    result = module(features)
    assert torch.allclose(result, explicit, rtol=1e-4, atol=1e-4)
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(result.square().mean(), parameters)
    expected = torch.autograd.grad(explicit.square().mean(), parameters[1:])  # gamma is not in `explicit`
    for gradient, other in zip(gradients[1:], expected, strict=True):
        assert torch.allclose(gradient, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("axis", ["column", "row"])
def test_pixel_sees_its_own_line_only(axis: Literal["column", "row"]) -> None:
    torch.manual_seed(0)
    module = AxialAttention(3, axis).double()
    module.gamma.data.fill_(1.0)
    features = random_features(1, 3, 5, 6)
    other = features.clone()
    other[:, :, 2, 3] += 1.0
    changed = (module(features) != module(other)).any(dim=1)[0]
    line = torch.zeros(5, 6, dtype=torch.bool)
    if axis == "column":
        line[:, 3] = True
    else:
        line[2, :] = True
    assert torch.equal(changed, line)


@pytest.mark.parametrize(
    "module", [ChannelAttention(), AxialAttention(4, "column"), AxialAttention(4, "row")]
)
def test_new_attention_changes_nothing(module: torch.nn.Module) -> None:
    features = random_features(1, 4, 6, 6).float()
    assert torch.equal(module(features), features)


@pytest.mark.parametrize(("dtype", "size"), [(torch.float16, 100.0), (torch.float32, 1e18)])
def test_default_channel_energy_stays_finite_where_the_published_one_overflows(
    dtype: torch.dtype, size: float
) -> None:
    features = (size * (1 + random_features(1, 3, 64, 64).clamp(-1, 1))).to(dtype)
    for exact_energy in (False, True):
        module = ChannelAttention(exact_energy).to(dtype)
        module.gamma.data.fill_(0.5)
        result = module(features)
        assert result.dtype == dtype
        assert bool(torch.isfinite(result).all()) is not exact_energy


def test_default_channel_energy_stays_finite_under_autocast() -> None:
    module = ChannelAttention()
    module.gamma.data.fill_(0.5)
    features = 1e4 * random_features(1, 3, 64, 64).float()
    with torch.autocast("cpu", dtype=torch.float16):
        result = module(features)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("parts", [1, 4, 48])
def test_products_of_channels_are_the_same_in_parts(parts: int, layout: torch.memory_format) -> None:
    channels = random_features(2, 3, 6, 8).contiguous(memory_format=layout).flatten(start_dim=2)
    expected = torch.einsum("bcp,bdp->bcd", channels, channels)
    torch.testing.assert_close(products_of_channels(channels, parts), expected, rtol=0, atol=1e-13)
