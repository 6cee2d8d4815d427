"""Which GPUs take HANet's own kernels, on a machine without one: what torch would answer is given."""

import importlib
import logging
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

import pytest
import torch

from pylon.models import HANet
from pylon.models.hanet import hierarchical_attention
from pylon.models.hanet.gpu import choice


@pytest.fixture
def untried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has been tried, on a GPU that can."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: torch.ones(shape))  # there is no such device
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


@pytest.mark.usefixtures("untried")
def test_kernels_that_run_are_taken_and_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[torch.Size, ...]] = []

    def run(*tensors: torch.Tensor) -> None:
        calls.append(tuple(one.shape for one in tensors))

    given(monkeypatch, SimpleNamespace(parallel_convolutions=run))
    assert [choice.tried_on(0), choice.tried_on(0)] == [True, True]
    assert calls == [((1, 4, 4, 4), (4, 2, 4, 3, 3), (4, 2))]
    assert choice.tried_on(1)
    assert len(calls) == 2


@pytest.mark.usefixtures("untried")
@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'triton'"), RuntimeError("Failed to find C compiler")]
)
def test_kernels_that_cannot_run_are_left_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    given(monkeypatch, error)
    with caplog.at_level(logging.WARNING):
        assert not choice.tried_on(0)
        assert not choice.tried_on(0)
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
    assert not choice.tried_on(0)
    assert caplog.records == []


@pytest.mark.slow
def test_choice_is_a_constant_to_torch_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[int] = []

    def asked(device: int) -> bool:
        devices.append(device)
        return False

    monkeypatch.setattr(choice, "tried_on", asked)
    monkeypatch.setattr(hierarchical_attention, "take_kernels", lambda features: choice._work_on(0))
    model, images = HANet(width=4).eval(), torch.randn(2, 1, 3, 16, 8)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    assert torch.equal(compiled(*images), model(*images))
    assert set(devices) == {0}
