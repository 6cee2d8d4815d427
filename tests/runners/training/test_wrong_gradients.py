"""Convolutions whose gradients torch computes wrong are refused: this machine's, and with injected faults."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.checkpoint import checkpoint

from pylon.runners.errors import ConfigError, TrainingError
from pylon.runners.training import wrong_gradients
from pylon.runners.training.wrong_gradients import watch_convolutions
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_retention import run_again
from tests.runners.toy import ToyModel

CPU = torch.device("cpu")
REFUSED = r"model, layer '0': on this processor torch .* computes wrong gradients of its weights"


class DilatedModel(ToyModel):
    """With a convolution over neighbours."""

    def __init__(self) -> None:
        super().__init__()
        self.layers[0] = nn.Conv2d(6, 4, 3, padding=2, dilation=2)


@pytest.fixture
def garbage(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Every gradient in bfloat16 is garbage; the shapes for which one was asked."""
    right, shapes = wrong_gradients._gradient, []

    def gradient(geometry: Any, dtype: torch.dtype) -> torch.Tensor:
        if dtype != torch.bfloat16:
            return right(geometry, dtype)
        shapes.append(geometry.image)
        return torch.full(geometry.weight, float("nan"))

    monkeypatch.setattr(wrong_gradients, "_gradient", gradient)
    wrong_gradients._difference.cache_clear()
    return shapes


@pytest.fixture(autouse=True)
def _forget() -> Any:
    yield
    wrong_gradients._difference.cache_clear()


def watched(layer: nn.Module, *, compiled: bool = False) -> nn.Sequential:
    model = nn.Sequential(layer)
    watch_convolutions("model", model, CPU, compiled=compiled)
    return model


def dilated(**options: Any) -> nn.Conv2d:
    return nn.Conv2d(8, 4, 3, **{"padding": 2, "dilation": 2, **options})


def images(size: int = 12, order: torch.memory_format = torch.channels_last) -> torch.Tensor:
    return torch.randn(2, 8, size, size).contiguous(memory_format=order)


def in_bfloat16(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result: torch.Tensor = model(features)
        return result


def is_wrong(layer: nn.Module, features: torch.Tensor) -> bool:
    """Whether this machine's torch gives garbage as the gradient of the weights."""
    gradients = []
    for precision in (torch.bfloat16, torch.float32):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
            result = layer(features)
        seen = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).to(result.dtype)
        gradients.append(torch.autograd.grad(result, layer.weight, seen)[0])
    return not (gradients[0] - gradients[1]).norm() < 0.05 * gradients[1].norm()


def is_refused(model: nn.Module, features: torch.Tensor) -> bool:
    try:
        in_bfloat16(model, features)
    except TrainingError:
        return True
    return False


@pytest.mark.parametrize(
    ("channels", "groups", "size"), [(24, 1, 40), (64, 64, 40), (32, 1, 40), (24, 1, 12), (16, 4, 33)]
)
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_it_is_refused_where_torchs_gradient_is_wrong_and_nowhere_else(
    channels: int, groups: int, size: int, kind: type[nn.Conv2d | nn.ConvTranspose2d]
) -> None:
    torch.manual_seed(0)
    layer = kind(channels, channels, 3, padding=2, dilation=2, groups=groups)
    features = torch.randn(2, channels, size, size).contiguous(memory_format=torch.channels_last)
    expected = is_wrong(layer, features)
    assert is_refused(watched(layer), features) == expected


def test_error_names_layer_and_way_out(garbage: list[tuple[int, ...]]) -> None:
    with pytest.raises(TrainingError, match=REFUSED) as caught:
        in_bfloat16(watched(dilated()), images())
    assert "precision='float32'" in str(caught.value)
    assert "channels_last=False" in str(caught.value)
    assert "weights, not all finite numbers. That" in str(caught.value)


def test_a_shape_is_tried_once_and_a_new_one_again(garbage: list[tuple[int, ...]]) -> None:
    model = watched(dilated())
    for size in (12, 12, 13):
        with pytest.raises(TrainingError):
            in_bfloat16(model, images(size))
    assert [shape[1] for shape in garbage] == [12, 13]


def test_large_images_are_compared_by_a_part_that_the_kernel_fits(garbage: list[tuple[int, ...]]) -> None:
    for layer in (dilated(), dilated(dilation=100, padding=100)):
        with pytest.raises(TrainingError):
            in_bfloat16(watched(layer), images(300))
    assert garbage == [(8, 128, 128), (8, 201, 201)]


def test_weights_in_channels_last_order_count_as_images_do(garbage: list[tuple[int, ...]]) -> None:
    model = watched(dilated()).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with pytest.raises(TrainingError):
        in_bfloat16(model, images(order=torch.contiguous_format))


@pytest.mark.usefixtures("garbage")
@pytest.mark.parametrize("compiled", [True, False])
def test_weights_of_bfloat16_are_compared_too(compiled: bool) -> None:
    model: Callable[[torch.Tensor], torch.Tensor] = watched(dilated(), compiled=compiled).bfloat16()
    if compiled:
        model = torch.compile(model, backend="aot_eager")
    with pytest.raises(TrainingError):
        model(images().bfloat16())


def test_images_may_be_given_by_name(garbage: list[tuple[int, ...]]) -> None:
    (layer,) = watched(dilated())
    with pytest.raises(TrainingError), torch.autocast("cpu", dtype=torch.bfloat16):
        layer(input=images())


@pytest.mark.usefixtures("garbage")
@pytest.mark.parametrize("part", ["channels", "columns", "every other", "one image again"])
def test_part_of_images_in_channels_last_order_counts_as_they_do(part: str) -> None:
    wide = torch.randn(2, 16, 12, 12).contiguous(memory_format=torch.channels_last)
    taken = {
        "channels": wide[:, :8],
        "columns": images()[..., 1:-1],
        "every other": images()[:, :, ::2, ::2],
        "one image again": images()[:1].expand(2, -1, -1, -1),
    }
    with pytest.raises(TrainingError):
        in_bfloat16(watched(dilated()), taken[part])


@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_padding_of_each_mode_is_refused_where_it_is_wrong(mode: Any, padding: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, padding=padding, padding_mode=mode, dilation=2, groups=8)
    features = torch.randn(2, 8, 48, 48).contiguous(memory_format=torch.channels_last)
    expected = is_wrong(layer, features)
    assert is_refused(watched(layer), features) == expected


@pytest.mark.parametrize("groups", [1, 24])
def test_weights_of_one_channel_have_an_order_too(groups: int) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(24, 24, 3, padding=2, dilation=2, groups=groups)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = torch.randn(2, 24, 40, 40)
    expected = is_wrong(layer, features)
    assert is_refused(watched(layer), features) == expected


@pytest.mark.parametrize("reentrant", [True, False])
def test_layer_may_be_computed_again_in_the_backward_pass(reentrant: bool) -> None:
    model = watched(nn.Conv2d(16, 16, 3, padding=2, dilation=2))
    features = torch.randn(2, 16, 48, 48).contiguous(memory_format=torch.channels_last).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = checkpoint(model, features, use_reentrant=reentrant)
    result.float().sum().backward()
    assert features.grad is not None


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32])
def test_weights_that_are_computed_are_not_computed_once_more(precision: torch.dtype) -> None:
    states = []
    for is_watched in (True, False):
        torch.manual_seed(0)
        layer = spectral_norm(dilated(groups=2))
        model = watched(layer) if is_watched else nn.Sequential(layer)
        for _ in range(2):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
                model(torch.randn(2, 8, 12, 12))
        states.append(model.state_dict()["0.parametrizations.weight.0._u"])
    assert torch.equal(*states)


@pytest.mark.parametrize("compiled", [True, False])
def test_model_can_be_pickled_and_copied(compiled: bool, garbage: list[tuple[int, ...]]) -> None:
    model = watched(dilated(), compiled=compiled)
    for copied in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        with pytest.raises(TrainingError, match=REFUSED):
            in_bfloat16(copied, images())


def test_model_that_is_compiled_whole_elsewhere_is_left_alone(garbage: list[tuple[int, ...]]) -> None:
    compiled = torch.compile(watched(dilated()), backend="aot_eager", fullgraph=True)
    compiled(images().bfloat16().float())
    assert garbage == []


def test_what_is_right_is_not_compared(garbage: list[tuple[int, ...]]) -> None:
    in_bfloat16(watched(dilated()), images(order=torch.contiguous_format))
    in_bfloat16(watched(dilated(dilation=1)), images())
    in_bfloat16(watched(dilated(padding_mode="circular")), images())
    in_bfloat16(watched(dilated()), images()[0])
    in_bfloat16(watched(dilated().requires_grad_(False)), images())
    watched(dilated())(images())
    in_bfloat16(watched(dilated().double()), images().double())
    with torch.no_grad():
        in_bfloat16(watched(dilated()), images())
    assert garbage == []


def test_it_draws_from_no_generator_of_the_training() -> None:
    model, features = watched(dilated()), images(9)
    before = torch.get_rng_state()
    in_bfloat16(model, features)
    assert torch.equal(torch.get_rng_state(), before)


def test_run_ends_before_its_first_step(toy: Toy, garbage: list[tuple[int, ...]]) -> None:
    stepping = "{'class': Stepping, 'args': {'precision': 'bfloat16', 'channels_last': True}}"
    path = toy.write(
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', "
        f"'stepping': {stepping}}}}}, model={{'class': DilatedModel, 'args': {{}}}}"
    )
    imports = (
        "from pylon.runners import Stepping\nfrom tests.runners.training.test_wrong_gradients import *\n"
    )
    path.write_text(imports + path.read_text())
    with pytest.raises(ConfigError, match=r"rehearsal of a training step: model, layer 'layers.0': on this"):
        run_again(path)
    assert garbage
    assert not (toy.work_dir / "checkpoint_latest.pt").exists()
