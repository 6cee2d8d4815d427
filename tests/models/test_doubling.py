"""Features at twice their size, and the gradient that GPUs take, which is computed here on the CPU."""

import pytest
import torch
from torch.nn import functional

from pylon.models.hanet.doubling import Doubled, doubled


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 1), (1, 2, 1, 7), (2, 4, 32, 16)])
def test_values_and_gradient_are_those_of_bilinear_interpolation(
    shape: tuple[int, ...], layout: torch.memory_format
) -> None:
    torch.manual_seed(0)
    features = torch.randn(shape, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    expected = functional.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
    found = Doubled.apply(features)
    slopes = torch.randn_like(expected)
    (expected_gradient,) = torch.autograd.grad(expected, features, slopes)
    (found_gradient,) = torch.autograd.grad(found, features, slopes)
    assert torch.equal(found, expected)
    assert torch.equal(doubled(features), expected)
    torch.testing.assert_close(found_gradient, expected_gradient, rtol=0, atol=1e-14)
    assert found_gradient.is_contiguous(memory_format=layout) or 1 in shape
