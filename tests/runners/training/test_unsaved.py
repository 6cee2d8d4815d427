"""Counters that a training step changes and no checkpoint has are named before the first step."""

import pytest

from tests.runners.conftest import Toy
from tests.runners.training.test_read_again import run_with
from tests.runners.training.test_rehearsal import log

# That of the other tests counts its calls.
MSE = """
config["criterion"] = {"class": torch.nn.MSELoss, "args": {}}
"""
COUNTING = """
from torch import nn
from tests.runners.any_data import Linear

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.steps = 0
        self.rate = 1.0
        self.width = 3
        self.register_buffer("kept", torch.zeros(()))
        self.seen = None

    def forward(self, row):
        self.steps += 1
        self.rate *= 0.99
        self.kept += 1
        self.seen = row.shape
        return row
{more}
class Counted(Linear):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(Counting(), self.layers)

config["model"]["class"] = Counted
"""
EXTRA = """
    def get_extra_state(self):
        return {"steps": self.steps, "rate": self.rate}

    def set_extra_state(self, state):
        self.steps, self.rate = state["steps"], state["rate"]
"""
IN_A_TASK = """
from pylon.runners import SupervisedSingleTask

class Task(SupervisedSingleTask):
    calls = 0

    def training_loss(self, batch):
        self.calls += 1
        return super().training_loss(batch)

class Trainer(SupervisedSingleTaskTrainer):
    def make_task(self, model, criterion):
        task = Task(model, criterion, self.context.device)
        task.calls = 0
        return task

config["runner"]["class"] = Trainer
"""
IN_AN_OPTIMIZER = """
class Slower(torch.optim.SGD):
    def __init__(self, params, lr, momentum):
        super().__init__(params, lr=lr, momentum=momentum)
        self.every = 0

    def step(self, closure=None):
        self.every += 1
        return super().step(closure)

config["optimizer"]["class"] = Slower
"""
TOLD = {
    "a layer": (
        COUNTING.format(more=""),
        # Validation and test were rehearsed before.
        "training steps change model.layers.0.steps (from 4 to 6), model.layers.0.rate (from 0.960596 to "
        "0.94148), which no checkpoint has. If a step",
    ),
    "a task": (IN_A_TASK, "training steps change runner.calls (from 0 to 2), which no checkpoint has"),
    "an optimizer": (
        IN_AN_OPTIMIZER, "training steps change optimizer.every (from 0 to 2), which no checkpoint has"
    ),
}  # fmt: skip


@pytest.mark.parametrize(("added", "told"), TOLD.values(), ids=list(TOLD))
def test_counter_that_no_checkpoint_has_is_named(toy: Toy, added: str, told: str) -> None:
    run_with(toy, MSE + added)
    assert told in log(toy)


NOTED = """
from torch import nn

class Noting(nn.MSELoss):
    def __init__(self):
        super().__init__()
        self.last_loss = 0.0
        self.best = float("nan")
        self.mask = 1 << 5000

    def forward(self, outputs, target):
        loss = super().forward(outputs, target)
        self.last_loss = loss.item()
        self.best = min(self.best, 1.0)
        self.mask = self.mask << 1 if {counts} else self.mask
        return loss

config["criterion"] = {{"class": Noting, "args": {{}}}}
"""


def test_number_that_is_only_noted_is_not_named(toy: Toy) -> None:
    run_with(toy, NOTED.format(counts="False"))
    assert "training steps change" not in log(toy)


def test_number_too_large_for_a_float_is_named(toy: Toy) -> None:
    run_with(toy, NOTED.format(counts="True"))
    assert "training steps change criterion.mask (from a large number to a large number), which" in log(toy)


def test_counter_that_a_class_saves_itself_is_not_named(toy: Toy) -> None:
    run_with(toy, MSE + COUNTING.format(more=EXTRA))
    assert "training steps change" not in log(toy)
