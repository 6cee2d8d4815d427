"""Which GPUs take HANet's own kernels, on a machine without one: what torch would answer is given."""

import importlib
import logging
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch.nn import functional

from pylon.models import HANet
from pylon.models.hanet import hierarchical_attention
from pylon.models.hanet.gpu import choice
from pylon.models.hanet.gpu.trial import largest_difference


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been tried, on a GPU that can."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(choice, "_device", lambda number: torch.device("cpu"))
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.tried_on.cache_clear()
    yield
    choice.tried_on.cache_clear()


def given(monkeypatch: pytest.MonkeyPatch, convolutions: ModuleType | SimpleNamespace | Exception) -> None:
    """What the import of the kernels gives or raises."""

    def imported(name: str) -> ModuleType | SimpleNamespace:
        assert name == "pylon.models.hanet.gpu.convolutions"
        if isinstance(convolutions, Exception):
            raise convolutions
        return convolutions

    monkeypatch.setattr(importlib, "import_module", imported)


def test_features_on_the_cpu_take_none() -> None:
    assert not choice.take_kernels(torch.zeros(1, 4, 2, 2))


def convolutions_like_the_kernels(
    features: torch.Tensor, weights: torch.Tensor, biases: torch.Tensor
) -> torch.Tensor:
    """The same by torch, in float32, with a result of the features' dtype."""
    groups = weights.shape[1] // 2
    branches = [
        functional.conv2d(
            features.float(), weights[k], biases[k], padding=k + 1, dilation=k + 1, groups=groups
        )
        for k in range(4)
    ]
    return torch.cat(branches, dim=1).to(features.dtype)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_kernels_that_are_right_are_taken_and_tried_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype
) -> None:
    calls: list[torch.dtype] = []

    def run(*tensors: torch.Tensor) -> torch.Tensor:
        calls.append(tensors[0].dtype)
        return convolutions_like_the_kernels(*tensors)

    given(monkeypatch, SimpleNamespace(parallel_convolutions=run))
    with torch.no_grad(), torch.inference_mode():
        assert [choice.tried_on(0, dtype), choice.tried_on(0, dtype)] == [True, True]
    assert calls == [dtype]
    assert choice.tried_on(1, dtype)
    assert calls == [dtype, dtype]


def with_a_wrong_gradient(*tensors: torch.Tensor) -> torch.Tensor:
    features, weights, biases = tensors
    return convolutions_like_the_kernels(features, weights * 1.0001 - weights.detach() * 0.0001, biases)


def with_one_wrong_number(*tensors: torch.Tensor) -> torch.Tensor:
    result = convolutions_like_the_kernels(*tensors)
    change = torch.zeros_like(result)
    change[-1, -1, -1, -1] = 0.01
    return result + change


def with_nan(*tensors: torch.Tensor) -> torch.Tensor:
    return convolutions_like_the_kernels(*tensors) * torch.nan


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("wrong", [with_a_wrong_gradient, with_one_wrong_number, with_nan])
def test_kernels_that_are_wrong_are_left_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: Callable[..., torch.Tensor]
) -> None:
    given(monkeypatch, SimpleNamespace(parallel_convolutions=wrong))
    with caplog.at_level(logging.WARNING):
        assert not choice.tried_on(0, torch.float32)
    (record,) = caplog.records
    assert "wrong here" in record.getMessage()


def test_trial_draws_nothing_from_the_training() -> None:
    before = torch.get_rng_state()
    difference = largest_difference(
        convolutions_like_the_kernels, device=torch.device("cpu"), dtype=torch.float32
    )
    assert difference < 1e-5
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'triton'"), RuntimeError("Failed to find C compiler")]
)
def test_kernels_that_cannot_run_are_left_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    given(monkeypatch, error)
    with caplog.at_level(logging.WARNING):
        assert not choice.tried_on(0, torch.float32)
        assert not choice.tried_on(0, torch.float32)
    (record,) = caplog.records
    assert "cuDNN's slower kernels" in record.getMessage()
    assert str(error) in record.getMessage()


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize("reason", ["variable", "capability", "not NVIDIA"])
def test_kernels_are_not_even_tried(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    reason: str,
) -> None:
    given(monkeypatch, AssertionError("imported"))
    if reason == "variable":
        monkeypatch.setenv(choice.VARIABLE, "0")
    elif reason == "capability":
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    else:
        monkeypatch.setattr(torch.version, "hip", "6.0")
    assert not choice.tried_on(0, torch.float32)
    assert caplog.records == []


@pytest.mark.slow
def test_choice_is_a_constant_to_torch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[int] = []

    def asked(device: int, dtype: torch.dtype) -> bool:
        # The first question comes while torch.compile traces.
        assert (
            largest_difference(convolutions_like_the_kernels, device=torch.device("cpu"), dtype=dtype) < 1e-5
        )
        devices.append(device)
        return False

    monkeypatch.setattr(choice, "tried_on", asked)
    monkeypatch.setattr(
        hierarchical_attention, "take_kernels", lambda features: choice._work_on(0, torch.float32)
    )
    model, images = HANet(width=4).eval(), torch.randn(2, 1, 3, 16, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*images), model(*images))
    assert set(devices) == {0}
