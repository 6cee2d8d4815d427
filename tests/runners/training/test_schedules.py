"""Schedules of torch that need more than a step: the validation score, or schedules inside them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler

from pylon.runners.config import check_config, load_config, to_json
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.errors import ConfigError, RunStopped
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.toy import toy_config

S = "torch.optim.lr_scheduler"
PLATEAU = (
    f"epochs=6, scheduler={{'class': {S}.ReduceLROnPlateau, "
    "'args': {'patience': 0, 'threshold': 0.2, 'factor': 0.5}}"
)
INNER = (
    f"[{{'class': {S}.LinearLR, 'args': {{'start_factor': 0.1, 'total_iters': 2}}}}, "
    f"{{'class': {S}.CosineAnnealingLR, 'args': {{'T_max': 4}}}}]"
)
SEQUENCE = (
    f"epochs=6, scheduler={{'class': {S}.SequentialLR, 'args': {{'schedulers': {INNER}, 'milestones': [2]}}}}"
)
CHAIN = f"epochs=6, scheduler={{'class': {S}.ChainedScheduler, 'args': {{'schedulers': {INNER}}}}}"


def rates(toy: Toy) -> list[float]:
    """The learning rate of each epoch."""
    lines = [json.loads(line) for line in (toy.work_dir / "metrics.jsonl").read_text().splitlines()]
    return [line["learning_rate"] for line in lines if line["step"] == 0]


def by_hand(build: Callable[[torch.optim.Optimizer], Any], scores: list[Any]) -> list[float]:
    """The learning rates that torch's own loop gives."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler, found = build(optimizer), []
    for score in scores:
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*score)
    return found


def test_schedule_may_make_tensors_of_the_learning_rates(toy: Toy) -> None:
    toy.run(f"epochs=3, scheduler={{'class': {S}.LambdaLR, 'args': {{'lr_lambda': factor_as_a_tensor}}}}")
    expected = [0.1 * 0.5 * (1 + math.cos(epoch / 10)) for epoch in range(3)]
    assert rates(toy) == pytest.approx(expected, rel=1e-6)


def test_plateau_gets_the_validation_score_of_each_epoch(toy: Toy) -> None:
    toy.run(PLATEAU)
    history = json.loads((toy.work_dir / "history.json").read_text())
    scores = [(record["validation"]["f1_changed"],) for record in history]
    expected = by_hand(
        lambda optimizer: lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", patience=0, threshold=0.2, factor=0.5
        ),
        scores,
    )
    assert rates(toy) == expected
    assert 1 < len(set(expected)) < 6, "some epochs are better, and some are not"


def inner(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [
        lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=2),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=4),
    ]


@pytest.mark.parametrize(
    ("changes", "build"),
    [
        (SEQUENCE, lambda one: lr_scheduler.SequentialLR(one, inner(one), milestones=[2])),
        (CHAIN, lambda one: lr_scheduler.ChainedScheduler(inner(one), optimizer=one)),
    ],
    ids=["sequence", "chain"],
)
def test_schedules_inside_one_get_the_optimizer(
    toy: Toy, changes: str, build: Callable[[torch.optim.Optimizer], Any]
) -> None:
    toy.run(changes)
    assert rates(toy) == by_hand(build, [()] * 6)
    assert len(set(rates(toy))) == 6


@pytest.mark.slow
@pytest.mark.parametrize("changes", [PLATEAU, SEQUENCE, CHAIN], ids=["plateau", "sequence", "chain"])
@pytest.mark.parametrize("call", [3, 8], ids=["after an epoch", "within an epoch"])
def test_stopped_run_resumes_with_the_state_of_its_schedule(
    make_toy: Callable[[str], Toy], changes: str, call: int
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run(changes)
    with pytest.raises(RunStopped):
        stopped.run(f"{changes}, {failing(call, 'SIGTERM')}")
    let_it_go_on(stopped)
    stopped.run(changes)
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert scheduler_state(stopped) == scheduler_state(whole)


def scheduler_state(toy: Toy) -> Any:
    return torch.load(toy.work_dir / "checkpoint_latest.pt", weights_only=True)["parts"]["scheduler"]


class Needing(lr_scheduler.LRScheduler):
    """Notes the scores that it is given."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.scores: list[float] = []
        super().__init__(optimizer)

    def _initial_step(self) -> None: ...

    def step(self, score: float) -> None:  # type: ignore[override]  # what the test is about
        self.scores = [*self.scores, score]


def test_own_schedule_that_needs_a_score_gets_it_and_an_undefined_one_is_nan(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pylon.metrics import SemanticSegmentationMetric

    former, calls = SemanticSegmentationMetric.summarize, [0]

    def summarize(self: Any) -> Any:
        summary = former(self)
        calls[0] += 1
        if calls[0] == 2:
            summary["aggregated"]["f1_changed"] = None
        return summary

    monkeypatch.setattr(SemanticSegmentationMetric, "summarize", summarize)
    path = toy.write()
    path.write_text(
        path.read_text()
        + "from tests.runners.training.test_schedules import Needing\n"
        + "config['scheduler'] = {'class': Needing, 'args': {}}\n"
        + "config['runner']['args']['rehearsal'] = False  # which summarises too\n"
    )
    from tests.runners.run_directory.test_retention import run_again

    run_again(path)
    scores = scheduler_state(toy)["scores"]
    assert len(scores) == 3
    assert [math.isnan(score) for score in scores] == [False, True, False]


def told(config: dict[str, Any]) -> list[str]:
    return [str(problem) for problem in rehearsal_problems(config)]


def with_plateau(**args: Any) -> dict[str, Any]:
    return toy_config(Path("run"), scheduler={"class": lr_scheduler.ReduceLROnPlateau, "args": args})


class Two(lr_scheduler.ConstantLR):
    def step(self, score: float, loss: float) -> None: ...  # type: ignore[override]  # the trainer has no loss


def test_schedule_that_cannot_be_stepped_so_is_found_before_the_run() -> None:
    per_step = with_plateau()
    per_step["runner"]["args"]["scheduler_interval"] = "step"
    assert told(per_step) == [
        "runner.args.scheduler_interval is 'step': expected 'epoch': ReduceLROnPlateau gets the validation "
        "score, once per epoch"
    ]
    assert told(with_plateau(mode="min")) == [
        "scheduler.args.mode is 'min': expected 'max', or no mode: the score 'f1_changed' is better when "
        "higher"
    ]
    assert told(with_plateau(mode="max")) == []
    (problem,) = told(toy_config(Path("run"), scheduler={"class": Two, "args": {}}))[:1]
    assert problem.startswith("scheduler.class is Two: has a step() that needs score, loss: expected")
    inside = {"schedulers": [{"class": lr_scheduler.ReduceLROnPlateau, "args": {}}], "milestones": []}
    (problem,) = told(toy_config(Path("run"), scheduler={"class": lr_scheduler.SequentialLR, "args": inside}))
    assert "does not support `ReduceLROnPlateau`" in problem


def test_arguments_of_schedules_inside_are_checked_and_come_back_from_json(tmp_path: Path) -> None:
    args = {"schedulers": [{"class": lr_scheduler.LinearLR, "args": {}}], "milestones": []}
    config = toy_config(tmp_path, scheduler={"class": lr_scheduler.SequentialLR, "args": args})
    check_config(config, source="x")
    (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
    assert load_config(tmp_path / "config.json")["scheduler"] == config["scheduler"]
    args["schedulers"][0]["args"] = {"optimizer": 1, "totl_iters": 2}
    with pytest.raises(ConfigError) as raised:
        check_config(config, source="x")
    problems = {problem.key_path: problem.expected for problem in raised.value.problems}
    assert problems["scheduler.args.schedulers.0.args.optimizer"] == "is given by the runner: remove it"
    assert "did you mean 'total_iters'" in problems["scheduler.args.schedulers.0.args.totl_iters"]
