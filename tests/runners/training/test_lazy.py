"""Models with lazy layers, and averages of models that cannot be copied."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import RunStopped, TrainingError
from pylon.runners.training.lazy import initialise_lazy
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again
from tests.runners.training import lazy_models
from tests.shutdown.compare_runs import unequal

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")]


def write(toy: Toy, model: str, *, ema: bool = False, changes: str = "", call: int = 0) -> Path:
    path = toy.write(changes)
    stepping = "{'class': Stepping, 'args': {'ema_decay': 0.5}}" if ema else None
    lines = [
        "from pylon.runners import Stepping",
        f"from tests.runners.training.lazy_models import {model}",
        f"config['model'] = {{'class': {model}, 'args': {{}}}}",
        f"config['runner']['args']['stepping'] = {stepping}",
        f"config['criterion']['args'] = {{'at_call': {call}, 'what': 'SIGTERM'}}" if call else "",
    ]
    path.write_text(path.read_text() + "\n".join(lines) + "\n")
    return path


def saved(toy: Toy, name: str = "latest") -> dict[str, Any]:
    path = toy.work_dir / f"checkpoint_{name}.pt"
    parts: dict[str, Any] = torch.load(path, weights_only=True)["parts"]
    return parts


def test_lazy_layers_are_counted_trained_and_averaged(toy: Toy) -> None:
    run_again(write(toy, "Lazy", ema=True, changes="epochs=1"))
    parts = saved(toy)
    assert {name: tuple(value.shape) for name, value in parts["model"].items() if "weight" in name} == {
        "first.weight": (4, 6, 1, 1),
        "norm.weight": (4,),
        "last.weight": (2, 4, 1, 1),
        "extra_norm.weight": (4,),
        "extra.weight": (2, 4, 1, 1),
    }
    assert len(parts["optimizer"]["param_groups"][0]["params"]) == 10
    assert unequal(parts["model"], parts["average"]["model"]) != []
    assert "Lazy with 64 parameters" in (toy.work_dir / "train.log").read_text()


class Summing:
    """A task that needs no criterion."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model

    def training_loss(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        total: torch.Tensor = self.model(**batch).sum()
        return total

    def predict(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        outputs: torch.Tensor = self.model(**batch)
        return outputs

    def score(self, *_: Any) -> None: ...


def test_batch_of_lazy_layers_leaves_no_trace_in_running_statistics() -> None:
    model = lazy_models.Lazy()
    batch = {name: torch.rand(2, 3, 8, 8) + 3 for name in ("img_1", "img_2")}
    initialise_lazy([model], lambda: Summing(model), lambda: batch)
    assert model.training
    for norm in (model.norm, model.extra_norm):
        assert norm.running_mean is not None
        assert torch.equal(norm.running_mean, torch.zeros(4))
        assert norm.running_var is not None
        assert torch.equal(norm.running_var, torch.ones(4))
        assert int(norm.num_batches_tracked or 0) == 0


@pytest.mark.parametrize(
    ("model", "ema"), [("Lazy", False), ("Lazy", True), ("Normed", True), ("NoCopy", True)]
)
def test_stopped_run_resumes_to_the_same_bits(make_toy: Callable[[str], Toy], model: str, ema: bool) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run_again(write(whole, model, ema=ema))
    with pytest.raises(RunStopped):
        run_again(write(stopped, model, ema=ema, call=6))
    let_it_go_on(stopped)
    run_again(write(stopped, model, ema=ema))
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert unequal(saved(whole), saved(stopped)) == []


def test_weights_of_lazy_layers_are_tested_alone_with_the_same_scores(toy: Toy) -> None:
    path = write(toy, "Lazy", changes="epochs=1")
    run_again(path)
    text = path.read_text() + (
        "from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of\n"
        "config = evaluation_of(config, SupervisedSingleTaskEvaluator, "
        f"checkpoint={str(toy.work_dir / 'checkpoint_best.pt')!r})\n"
    )
    other = toy.folder / "evaluation.py"
    other.write_text(text)
    run_again(other)
    one, two = (
        json.loads((toy.folder / name / "test/test_results.json").read_text()) for name in ("run", "run-test")
    )
    assert one["per_datapoint"] == two["per_datapoint"]


def test_lazy_layer_that_is_never_used_is_named(toy: Toy) -> None:
    with pytest.raises(TrainingError, match=r"lazy layers have no shape yet.*: Unused\.never\.weight"):
        run_again(write(toy, "Unused"))


@pytest.mark.parametrize("model", ["Normed", "NoCopy", "Parametrized"])
def test_average_is_that_of_the_weights_after_each_step(toy: Toy, model: str) -> None:
    run_again(write(toy, model, ema=True, changes="epochs=1, scheduler=None"))
    parts = saved(toy)
    steps: list[dict[str, torch.Tensor]] = []
    # The same training without an average, one step longer each time.
    for count in range(4):
        other = Toy(toy.folder / str(count))
        other.folder.mkdir()
        rate = "optimizer={'class': torch.optim.SGD, 'args': {'lr': 0.1, 'momentum': 0.9}}"
        path = write(other, model, changes=f"epochs=1, scheduler=None, {rate}")
        path.write_text(
            path.read_text()
            + f"config['runner']['args']['max_batches_per_epoch'] = {max(1, count)}\n"
            + ("config['optimizer']['args']['lr'] = 0.0\n" if count == 0 else "")
        )
        run_again(path)
        steps.append(saved(other)["model"])
    learnt = [name for name, _ in getattr(lazy_models, model)().named_parameters()]
    assert learnt
    for name in learnt:
        average = steps[0][name]
        for step in steps[1:]:
            average = torch.lerp(average, step[name], 0.5)
        assert torch.equal(average, parts["average"]["model"][name]), name


def test_model_that_can_be_neither_copied_nor_built_again_is_named(toy: Toy) -> None:
    lazy_models.Once.built = False
    with pytest.raises(TrainingError) as raised:
        run_again(write(toy, "Once", ema=True))
    said = str(raised.value)
    assert "ema_decay: an average needs a second Once" in said
    assert "TypeError: a handle cannot be copied" in said
    assert "only one at a time" in said
