"""PReLU with a gradient of its own, against torch's."""

import pytest
import torch
from torch import nn

from pylon.models.hanet.prelu import PReLU


@pytest.mark.parametrize("slope", [0.25, 0.0, -0.5, 2.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_result_and_gradients_are_those_of_torch(slope: float, dtype: torch.dtype) -> None:
    ours, theirs = PReLU().to(dtype), nn.PReLU().double()
    features = torch.randn(2, 3, 8, 9, generator=torch.Generator().manual_seed(0)).to(dtype)
    features[0, 0, 0] = 0
    results = []
    for module, values in ((ours, features), (theirs, features.double())):
        nn.init.constant_(module.weight, slope)
        inputs = values.contiguous(memory_format=torch.channels_last).requires_grad_()
        result = module(inputs)
        weight = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
        gradients = torch.autograd.grad(result, [inputs, module.weight], weight.to(result.dtype))
        results.append([result.detach(), *gradients])
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 0.02, torch.float16: 0.005}[dtype]
    for found, expected in zip(*results, strict=True):
        assert found.dtype == dtype
        error = (found.double() - expected).norm() / expected.norm().clamp(min=1)
        assert error <= tolerance


def test_under_autocast_the_slope_keeps_its_dtype() -> None:
    module = PReLU()
    features = torch.randn(2, 3, 8, 9).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = module(features)
    result.sum().backward()
    assert module.weight.grad is not None
    assert module.weight.grad.dtype == torch.float32


def test_weights_of_torchs_prelu_fit() -> None:
    module = PReLU()
    module.load_state_dict(nn.PReLU(init=0.5).state_dict())
    assert module.weight.item() == 0.5
