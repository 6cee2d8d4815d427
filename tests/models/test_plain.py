"""What torch and other packages do with layers reaches HANet's, though it uses their weights without them."""

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils import parametrize

from pylon.models import HANet
from pylon.models.hanet.attention import AxialAttention
from pylon.models.hanet.decoder import Decoder
from pylon.models.hanet.hierarchical_attention import ParallelConvolutions
from pylon.models.hanet.prelu import PReLU
from tests.models.test_hanet import image_pair, wake

PAIR = image_pair(1, 3, 16, 24, dtype=torch.float64)


@pytest.fixture
def model() -> HANet:
    torch.manual_seed(0)
    made = HANet(width=4).double().eval()
    wake(made)
    return made


def layers(model: HANet) -> dict[str, nn.Conv2d]:
    """Those that attention and mixtures do without."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d)
        and any(part in name for part in ("axial", "parallel", "decoder.mix"))
    }


class Adapted(nn.Module):
    """As packages that adapt a layer put one in its place, with its weight and bias."""

    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer

    @property
    def weight(self) -> torch.Tensor:
        return self.layer.weight

    @property
    def bias(self) -> torch.Tensor | None:
        return self.layer.bias

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = 2 * self.layer(features)
        return result


class Twice(nn.Module):
    """A parametrization."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return 2 * weight


def test_hooks_of_all_layers_fire_and_change_no_number(model: HANet) -> None:
    expected, fired = model(*PAIR), []
    for name, layer in layers(model).items():
        layer.register_forward_hook(lambda *_, name=name: fired.append(name))
    torch.testing.assert_close(model(*PAIR), expected)
    assert sorted(fired) == sorted(layers(model))


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_layer_in_the_place_of_a_projection_is_called(name: str) -> None:
    torch.manual_seed(0)
    attention = AxialAttention(4, "column").double()
    attention.gamma.data.fill_(0.5)
    features = torch.randn(1, 4, 6, 9, dtype=torch.float64)
    layer: nn.Conv2d = getattr(attention, name)
    setattr(attention, name, Adapted(layer))
    found = attention(features)
    setattr(attention, name, layer)
    assert not torch.allclose(found, attention(features))
    with torch.no_grad():
        layer.weight *= 2
        layer.get_parameter("bias").mul_(2)
    torch.testing.assert_close(found, attention(features))


def test_layer_in_the_place_of_the_mixture_of_the_levels_is_called() -> None:
    torch.manual_seed(0)
    decoder = Decoder((4, 8), hidden_channels=6, num_classes=3).double()
    levels = [torch.randn(2, 4 * 2**k, 16 // 2**k, 24 // 2**k, dtype=torch.float64) for k in range(2)]
    layer = decoder.mixture
    decoder.mixture = Adapted(layer)  # type: ignore[assignment]
    found = decoder(levels)
    decoder.mixture = layer
    with torch.no_grad():
        layer.weight *= 2
        layer.get_parameter("bias").mul_(2)
    torch.testing.assert_close(found, decoder(levels))


@pytest.mark.parametrize("name", ["branches.2", "mixture"])
def test_parametrization_and_layer_in_the_place_of_a_convolution_count(name: str) -> None:
    torch.manual_seed(0)
    parallel = ParallelConvolutions(4).double()
    features = torch.randn(1, 8, 6, 9, dtype=torch.float64)
    parametrize.register_parametrization(parallel.get_submodule(name), "weight", Twice())
    found = parallel(features)
    parametrize.remove_parametrizations(parallel.get_submodule(name), "weight")
    torch.testing.assert_close(found, parallel(features))
    container, _, last = name.rpartition(".")
    setattr(parallel.get_submodule(container), last, Adapted(parallel.get_submodule(name)))  # type: ignore[arg-type]
    adapted: Any = parallel.get_submodule(name)
    changed = parallel(features)
    with torch.no_grad():
        adapted.layer.weight.mul_(2)
        adapted.layer.bias.mul_(2)
    setattr(parallel.get_submodule(container), last, adapted.layer)
    torch.testing.assert_close(changed, parallel(features))


def test_weights_may_be_given_at_the_call(model: HANet) -> None:
    weights = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert torch.equal(torch.func.functional_call(model, weights, PAIR), model(*PAIR))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize("with_gradient", [True, False])
def test_traced_model_can_be_saved(model: HANet, with_gradient: bool) -> None:
    with torch.set_grad_enabled(with_gradient):
        traced, file = torch.jit.trace(model, PAIR), io.BytesIO()  # type: ignore[no-untyped-call]
        torch.jit.save(traced, file)
        file.seek(0)
        torch.testing.assert_close(torch.jit.load(file)(*PAIR), model(*PAIR))  # type: ignore[no-untyped-call]


def test_step_can_be_taken_with_tensors_without_numbers() -> None:
    with FakeTensorMode():
        fake = HANet(width=4)
        fake(torch.randn(1, 3, 16, 24), torch.randn(1, 3, 16, 24)).sum().backward()
    assert all(parameter.grad is not None for parameter in fake.parameters())


def test_infinite_gradient_of_a_positive_number_is_none_of_the_slope() -> None:
    module, features = PReLU(), torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    module(features).backward(torch.tensor([float("inf"), 1.0, 1.0]))
    assert torch.equal(module.weight.grad, torch.tensor([-2.0]))  # type: ignore[arg-type]


@pytest.mark.parametrize("bfloat16", [True, False])
def test_torch_compile_takes_the_model_as_one_graph(model: HANet, bfloat16: bool) -> None:
    compiled = torch.compile(model.float(), backend="eager", fullgraph=True)
    images = image_pair(1, 3, 16, 24)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        found, expected = compiled(*images), model(*images)
    assert (found - expected).norm() < (0.1 if bfloat16 else 1e-4) * expected.norm()
