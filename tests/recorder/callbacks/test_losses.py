"""Losses of a GPU are read when the GPU is there."""

import sys
from types import SimpleNamespace

import pytest
import torch

from pylon.recorder.callbacks.losses import Losses


def test_numbers_and_tensors_of_the_cpu_are_known_at_once() -> None:
    losses = Losses()
    assert losses.known(1, 2) == 2.0
    assert losses.known(1, None) is None
    assert losses.known(1, torch.tensor(0.5, requires_grad=True) * 3) == 1.5
    assert losses.known(1, torch.tensor([0.25], dtype=torch.bfloat16)) == 0.25
    assert list(losses.ready()) == []


def test_gpu_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    finished = []

    class Event:
        def __init__(self) -> None:
            self.number = len(events)
            events.append(self)

        def record(self) -> None:
            pass

        def query(self) -> bool:
            return self.number in finished

    events: list[Event] = []
    of_cpu = torch.empty

    def empty(*shape: object, pin_memory: bool, **others: object) -> torch.Tensor:
        assert pin_memory, "a copy to other memory waits"
        return of_cpu(*shape, **others)

    stand_in = SimpleNamespace(
        float32=torch.float32,
        empty=empty,
        cuda=SimpleNamespace(Event=Event),
    )
    monkeypatch.setitem(sys.modules, "torch", stand_in)

    class OnGPU:
        device = SimpleNamespace(type="cuda")

        def __init__(self, value: float) -> None:
            self.value = value

        def detach(self) -> torch.Tensor:
            return torch.tensor(self.value)

        def __float__(self) -> float:
            raise AssertionError("it was waited for")

    losses = Losses()
    assert losses.known(7, OnGPU(1.5)) is None
    assert losses.known(8, OnGPU(2.5)) is None
    assert list(losses.ready()) == []
    finished.append(0)
    assert list(losses.ready()) == [(7, 1.5)]
    finished.append(1)
    assert list(losses.ready()) == [(8, 2.5)]
