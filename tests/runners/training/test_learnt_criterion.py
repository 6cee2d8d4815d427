"""A criterion with parameters of its own: trained, clipped, checked, saved and resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import RunStopped
from pylon.runners.training.stepping import NonFiniteError
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.shutdown.compare_runs import unequal

pytestmark = pytest.mark.slow

LEARNT = """
from pylon.runners import Stepping

class Learnt(ToyCriterion):
    def __init__(self, at_call=0, what="nan"):
        super().__init__(at_call, what)
        self.log_variance = nn.Parameter(torch.zeros(()))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, logits, target):
        loss = super().forward(logits, target)
        return loss * torch.exp(-self.log_variance) + 0.5 * self.log_variance + self.extra()

    def extra(self):
        return 0.0

class Edge(Learnt):
    def extra(self):  # its gradient is not finite, but its value is
        return (self.log_variance * 0).sqrt()

config["criterion"] = {{"class": {name}, "args": {arguments}}}
config["optimizer"] = {{"class": torch.optim.SGD, "args": {{"lr": {rate}, "momentum": 0.9}}}}
config["runner"]["args"]["stepping"] = {{"class": Stepping, "args": {stepping}}}
"""


def learning(
    toy: Toy, stepping: str = "{}", name: str = "Learnt", arguments: str = "{}", rate: float = 0.1
) -> Path:
    path = toy.write()
    path.write_text(
        path.read_text().replace("import torch\n", "import torch\nfrom torch import nn\n", 1)
        + LEARNT.format(name=name, arguments=arguments, stepping=stepping, rate=rate)
    )
    return path


def parts(toy: Toy) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)["parts"]
    return found


def test_parameters_of_the_criterion_are_trained_in_a_group_of_their_own(toy: Toy) -> None:
    run_again(learning(toy))
    saved = parts(toy)
    assert abs(float(saved["criterion"]["log_variance"])) > 0.01
    assert torch.equal(saved["criterion"]["frozen"], torch.ones(2))
    groups = saved["optimizer"]["param_groups"]
    assert [len(group["params"]) for group in groups] == [6, 1]
    assert groups[0]["lr"] == groups[1]["lr"] == pytest.approx(0.1 * 0.5**3), "the schedule is of both"


def test_stopped_in_an_epoch_it_resumes_to_the_same_bits(make_toy: Callable[[str], Toy]) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run_again(learning(whole))
    with pytest.raises(RunStopped):
        run_again(learning(stopped, arguments="{'at_call': 5, 'what': 'SIGTERM'}"))
    let_it_go_on(stopped)
    run_again(learning(stopped))
    assert "resuming after 1 finished epochs and 2 steps" in (stopped.work_dir / "train.log").read_text()
    assert unequal(parts(whole), parts(stopped)) == []
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_clipping_bounds_the_step_of_the_criterion_too(toy: Toy) -> None:
    run_again(learning(toy, "{'clip_norm': 1e-6}", rate=1.0))
    assert 0 < abs(float(parts(toy)["criterion"]["log_variance"])) < 1e-4


def test_non_finite_gradient_of_the_criterion_is_seen_behind_a_finite_loss(toy: Toy) -> None:
    with pytest.raises(NonFiniteError, match=r"epoch 0, step 0: .*a gradient is NaN or infinite"):
        run_again(learning(toy, "{'non_finite': 'raise'}", name="Edge"))


def test_criterion_without_parameters_leaves_one_group(toy: Toy) -> None:
    toy.run()
    assert len(parts(toy)["optimizer"]["param_groups"]) == 1
    assert len(json.loads((toy.work_dir / "history.json").read_text())) == 3
