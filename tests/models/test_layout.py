"""How models compute on the CPU: in channels-last order, and in bfloat16 with joined groups."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from pylon import models
from pylon.models.hanet.attention import AxialAttention
from pylon.models.hanet.hierarchical_attention import GroupedConvolution, ParallelConvolutions


@pytest.mark.parametrize("name", ["HANet", "FCEF", "FCSiamConc", "FCSiamDiff"])
def test_convolutions_get_channels_last_images_on_the_cpu(name: str) -> None:
    model: nn.Module = getattr(models, name)(width=4).eval()
    layouts = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))

    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(note)
    with torch.no_grad():
        model(torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32))
    assert len(layouts) > 10
    assert all(layouts)


@pytest.mark.parametrize("channels", [2, 4, 8, 10, 12, 16])
@pytest.mark.parametrize("dilation", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format])
def test_joined_groups_give_the_grouped_convolution(
    channels: int, dilation: int, dtype: torch.dtype, order: torch.memory_format
) -> None:
    # torch 2.13's own gradient of the weights is garbage here in bfloat16, channels last, from dilation 2 on.
    torch.manual_seed(0)
    convolution = GroupedConvolution(channels, dilation).to(dtype)
    features = torch.randn(2, 2 * channels, 32, 33).to(dtype).contiguous(memory_format=order)
    found = _with_gradients(convolution, convolution, features)
    plain = nn.Conv2d(
        2 * channels, channels, 3, padding=dilation, dilation=dilation, groups=channels // 2
    ).double()
    plain.load_state_dict(convolution.state_dict())
    expected = _with_gradients(plain, plain, features.double())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=0.02, atol=0.02)


def test_shares_of_the_mixture_are_the_mixture_of_branches_side_by_side() -> None:
    torch.manual_seed(0)
    parallel = ParallelConvolutions(6).double()
    features = torch.randn(2, 12, 9, 11, dtype=torch.float64)

    def side_by_side(values: torch.Tensor) -> torch.Tensor:
        mixed: torch.Tensor = parallel.mixture(
            torch.cat([branch(values) for branch in parallel.branches], dim=1)
        )
        return mixed

    found = _with_gradients(parallel, parallel, features)
    expected = _with_gradients(side_by_side, parallel, features)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("axis", ["column", "row"])
def test_attention_in_bfloat16_is_that_of_float64(axis: str) -> None:
    torch.manual_seed(0)
    attention = AxialAttention(8, axis)  # type: ignore[arg-type]
    nn.init.constant_(attention.gamma, 0.5)
    features = torch.randn(2, 8, 6, 10)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = _with_gradients(attention, attention, features)
    double = AxialAttention(8, axis).double()  # type: ignore[arg-type]
    double.load_state_dict(attention.state_dict())
    expected = _with_gradients(double, double, features.double())
    assert not torch.equal(found[0].double(), expected[0]), "computed without bfloat16"
    for one, other in zip(found, expected, strict=True):
        error = (one.double() - other).norm() / other.norm().clamp(min=1)
        assert error < 0.03


def _with_gradients(
    compute: Callable[[torch.Tensor], torch.Tensor], module: nn.Module, features: torch.Tensor
) -> list[torch.Tensor]:
    features = features.clone().requires_grad_()
    result = compute(features)
    torch.manual_seed(1)
    weight = torch.randn(result.shape).to(result.dtype)
    gradients = torch.autograd.grad(functional.mse_loss(result, weight), [features, *module.parameters()])
    return [result.detach(), *gradients]
