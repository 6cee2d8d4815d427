"""Generators that the model, the loss or the task hold themselves go on in a resumed run."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pylon.runners.errors import RunStopped
from pylon.runners.object_generators import ObjectGenerators
from pylon.runners.randomness import RandomState
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.training.test_read_again import run_with
from tests.runners.training.test_rehearsal import log

HELD = """
import random
import numpy
from pylon.runners import SupervisedSingleTask
from torch import nn
from tests.runners.any_data import Linear, SquaredError

rng = numpy.random.default_rng(5)

class Noise(nn.Module):
    def __init__(self):
        super().__init__()
        self.made = {"numpy": numpy.random.default_rng(1)}

    def forward(self, row):
        return row + float(self.made["numpy"].normal()) + float(rng.normal())

class Noisy(Linear):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Sequential(nn.Sequential(nn.Sequential(Noise()))), self.layers)

class Loss(SquaredError):
    def __init__(self, at_call=0):
        super().__init__(at_call)
        self.old = numpy.random.RandomState(2)
        self.philox = numpy.random.Generator(numpy.random.Philox(3))
        self.lazy = LAZY

    def forward(self, input, target):
        if self.lazy is None:
            self.lazy = random.Random(4)
        return super().forward(input, target) * self.old.rand() * self.philox.random() + self.lazy.random()

class Task(SupervisedSingleTask):
    generator = None

    def training_loss(self, batch):
        return super().training_loss(batch) * torch.rand((), generator=self.generator)

class Trainer(SupervisedSingleTaskTrainer):
    def make_task(self, model, criterion):
        task = Task(model, criterion, self.context.device)
        task.generator = torch.Generator()
        return task

config["model"]["class"] = Noisy
config["criterion"]["class"] = Loss
config["runner"]["class"] = Trainer
"""


@pytest.fixture
def held() -> dict[str, Any]:
    return {
        "python": random.Random(),
        "numpy": np.random.default_rng(),
        "of another kind": np.random.Generator(np.random.SFC64()),
        "philox": np.random.RandomState(np.random.Philox()),
        "legacy": np.random.RandomState(),
        "torch": torch.Generator(),
    }


def drawn(held: dict[str, Any]) -> list[float]:
    python, numpy, other, philox, legacy, of_torch = held.values()
    return [
        python.gauss(0, 1), float(numpy.normal()), float(other.random()), float(philox.normal()),
        float(legacy.normal()), float(torch.rand((), generator=of_torch)),
    ]  # fmt: skip


def test_state_of_each_kind_survives_a_checkpoint(held: dict[str, Any], tmp_path: Path) -> None:
    state = RandomState(torch.device("cpu"))
    state.take_in({"part": held})
    drawn(held)  # a second normal number waits to be given out
    torch.save(state.state_dict(), tmp_path / "checkpoint.pt")
    expected = drawn(held)
    state.load_state_dict(torch.load(tmp_path / "checkpoint.pt", weights_only=True))
    assert drawn(held) == expected


_MODULE = """
rng = numpy.random.default_rng(7)

class Block:
    def draw(self):
        return rng.random()
"""


def modules_of_one_name() -> list[Any]:
    """Objects of two classes of one name, each from a module with a generator of its own."""
    found = []
    for number in range(2):
        names: dict[str, Any] = {"numpy": np, "__name__": f"module_{number}"}
        exec(_MODULE, names)
        found.append(names["Block"]())
    return found


def test_generators_of_modules_with_classes_of_one_name_are_kept_apart() -> None:
    first, second = modules_of_one_name()

    class Both(torch.nn.Module):
        def modules(self) -> Any:
            return iter((first, second))

    first.draw()
    state = ObjectGenerators({"model": Both()}).state_dict()
    assert len(state) == 2
    expected = [first.draw(), second.draw()]
    ObjectGenerators({"model": Both()}).load_state_dict(state)
    assert [first.draw(), second.draw()] == expected


class Own(random.Random):
    def getstate(self) -> tuple[Any, ...]:
        raise NotImplementedError


def test_generator_without_a_state_is_left_alone() -> None:
    objects = ObjectGenerators({"model": [random.SystemRandom(), Own()], "optimizer": None})
    assert objects.state_dict() == {}


def test_state_of_another_kind_is_named(held: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    former = ObjectGenerators({"model": held, "other": [held["python"]]}).state_dict()
    assert [place for place in former if place.startswith("other")] == []
    changed = ObjectGenerators({"model": {**held, "numpy": np.random.Generator(np.random.Philox())}})
    changed.load_state_dict(former)
    (record,) = caplog.records
    assert record.getMessage().startswith("model['numpy']: the checkpoint has a state")


def test_run_that_draws_from_them_resumes_to_the_same_bits(make_toy: Callable[[str], Toy]) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    added = HELD.replace("LAZY", "random.Random(4)")
    run_with(whole, added)
    with pytest.raises(RunStopped):
        run_with(stopped, added, "at_call=5")
    assert len((stopped.work_dir / "metrics.jsonl").read_text().splitlines()) == 5
    let_it_go_on(stopped)
    run_with(stopped, added)
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert "not there" not in log(stopped)


def test_generator_that_is_made_in_the_middle_of_a_run_is_named_at_its_resume(toy: Toy) -> None:
    added = HELD.replace("LAZY", "None")
    with pytest.raises(RunStopped):
        run_with(toy, added, "at_call=5")
    let_it_go_on(toy)
    run_with(toy, added)
    assert "criterion.lazy: the checkpoint has a state of these generators, which are not there" in log(toy)
