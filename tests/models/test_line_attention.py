"""Attention in lines of pixels on the CPU, against its formula with torch's own gradients."""

from typing import Any

import pytest
import torch

from pylon.models.hanet import line_attention
from pylon.models.hanet.attention import AxialAttention

# Lines: not a multiple of those that are computed at a time.
SHAPE = (2, 5, 7, 3)


@pytest.fixture(params=["a line at a time", "some lines", "all lines"])
def _lines_at_a_time(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"a line at a time": 0, "some lines": 3, "all lines": 100}[request.param]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    monkeypatch.setattr(line_attention, "_ENERGIES", lines * SHAPE[2] ** 2 * torch.float64.itemsize)


def lines_of_pixels(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    queries, pixels = torch.randn(2, *shape, generator=torch.Generator().manual_seed(3)).to(dtype)
    return queries.requires_grad_(), pixels.requires_grad_()


def by_formula(queries: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    return torch.softmax(queries @ pixels.transpose(-1, -2), dim=-1) @ pixels


@pytest.mark.usefixtures("_lines_at_a_time")
def test_mixtures_and_gradients_are_those_of_the_formula() -> None:
    inputs = lines_of_pixels(*SHAPE)
    found, expected = line_attention.attend(*inputs), by_formula(*inputs)
    torch.testing.assert_close(found, expected)
    weight = torch.randn_like(expected).transpose(1, 2).contiguous().transpose(1, 2)  # in another order
    for one, other in zip(
        torch.autograd.grad(found, inputs, weight), torch.autograd.grad(expected, inputs, weight), strict=True
    ):
        torch.testing.assert_close(one, other)


def test_no_energy_is_kept_for_the_gradient() -> None:
    queries, pixels = lines_of_pixels(1, 4, 64, 2)
    kept: list[torch.Tensor] = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        line_attention.attend(queries, pixels)
    assert sum(tensor.numel() for tensor in kept) == queries.numel() + pixels.numel()


def test_large_energies_are_as_precise_in_bfloat16_as_their_factors() -> None:
    queries, pixels = lines_of_pixels(1, 4, 64, 32, dtype=torch.bfloat16)
    with torch.no_grad():
        queries *= 16
        expected = by_formula(queries.double(), pixels.double())
        found = line_attention.attend(queries, pixels).double()
        energies_rounded = (queries @ pixels.transpose(-1, -2)).double()
        rounded = torch.softmax(energies_rounded, dim=-1) @ pixels.double()
    assert (found - expected).norm() < 0.2 * (rounded - expected).norm()


@pytest.mark.parametrize("axis", ["column", "row"])
def test_longer_lines_take_torchs_kernel_and_give_the_same(
    axis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    module = AxialAttention(4, axis).double()
    module.gamma.data.fill_(0.5)
    features = torch.randn(1, 4, 6, 9, dtype=torch.float64)
    expected = module(features)
    monkeypatch.setattr(line_attention, "_LONGEST", 1)
    monkeypatch.setattr(line_attention, "attend", None)
    torch.testing.assert_close(module(features), expected)


def test_bias_of_the_keys_has_the_gradient_zero() -> None:
    module = AxialAttention(4, "row")
    module.gamma.data.fill_(0.5)
    module(torch.randn(1, 4, 6, 9)).square().sum().backward()
    gradients: dict[str, Any] = {name: parameter.grad for name, parameter in module.named_parameters()}
    assert torch.equal(gradients.pop("key.bias"), torch.zeros(4))
    assert all(gradient.any() for gradient in gradients.values())


def test_second_derivative_is_refused() -> None:
    inputs = lines_of_pixels(*SHAPE)
    first = torch.autograd.grad(line_attention.attend(*inputs).square().sum(), inputs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first[0].sum().backward()
