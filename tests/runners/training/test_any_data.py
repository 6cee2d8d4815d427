"""Datasets, samplers and collate functions of torch's kind in a run: trained, resumed to the same bits."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from pylon.data import DataLoader
from pylon.runners.distributed import World
from pylon.runners.errors import ConfigError, RunStopped, TrainingError
from pylon.runners.training.non_finite import advice_of_data
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers


def configured(toy: Toy, kind: str, changes: str = "") -> None:
    """Let `toy.run` use this kind of data."""
    (toy.folder / "toy_config_file.py").write_text(
        "import torch\nfrom tests.runners.any_data import *\n"
        f"config = any_config({str(toy.work_dir)!r}, {kind!r}, {changes})\n"
    )


def run(toy: Toy, kind: str, changes: str = "") -> Any:
    import io

    from rich.console import Console

    from pylon.runners.launch.file import run_file
    from pylon.runners.launch.run import Options

    configured(toy, kind, changes)
    path = toy.folder / "toy_config_file.py"
    return run_file(path, Options(device="cpu"), Console(file=io.StringIO()))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("kind", ["tuple", "dict", "sequence", "sampler", "function"])
def test_stopped_in_the_middle_of_an_epoch_it_resumes_to_the_same_bits(
    make_toy: Callable[[str], Toy], kind: str, num_workers: int
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run(whole, kind)
    with pytest.raises(RunStopped):
        run(stopped, kind, f"at_call=5, num_workers={num_workers}")
    assert len((stopped.work_dir / "metrics.jsonl").read_text().splitlines()) == 5
    let_it_go_on(stopped)
    run(stopped, kind, f"num_workers={num_workers}")
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    losses = [loss for _, loss, _ in numbers(whole.work_dir)["steps"]]  # type: ignore[attr-defined]
    assert len(set(losses)) == 9
    scores = json.loads((whole.work_dir / "test" / "test_results.json").read_text())
    assert scores["per_datapoint"]["idx"] == list(range(6))


@pytest.mark.parametrize("kind", ["sequence", "sampler", "function"])
def test_config_json_runs_it_again(make_toy: Callable[[str], Toy], kind: str) -> None:
    first, again = make_toy("first"), make_toy("again")
    run(first, kind)
    recorded = json.loads((first.work_dir / "config.json").read_text())
    path = again.folder / "config.json"
    path.write_text(json.dumps(recorded | {"work_dir": str(again.work_dir)}))
    ended = again.launch_file(path)
    assert ended.returncode == 0, ended.stderr
    assert numbers(again.work_dir) == numbers(first.work_dir)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ("train_dataset={'class': torch.nn.Identity, 'args': {}}", "__getitem__"),
        ("train_dataset={'class': lambda: [1], 'args': {}}", "is a lambda"),
        ("metric={'class': torch.nn.Linear, 'args': {'in_features': 1, 'out_features': 1}}", "BaseMetric"),
    ],
)
def test_class_that_the_run_cannot_use_is_refused_before_anything_is_built(
    toy: Toy, changes: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        run(toy, "tuple", changes)
    assert not toy.work_dir.exists()


def test_metric_of_torchmetrics_judges_a_run(toy: Toy) -> None:
    run(toy, "tuple", "metric=MSE, score='MeanSquaredError'")
    scores = json.loads((toy.work_dir / "test" / "test_results.json").read_text())
    each = scores["per_datapoint"]["MeanSquaredError"]
    assert scores["aggregated"]["MeanSquaredError"] == pytest.approx(sum(each) / 6, rel=1e-5)
    assert scores["baselines"] == {}
    history = json.loads((toy.work_dir / "history.json").read_text())
    errors = [record["validation"]["MeanSquaredError"] for record in history]
    best = (toy.work_dir / "checkpoint_best.pt").resolve().parent.name
    assert best == f"epoch_{errors.index(min(errors))}", "lower is better, as the metric declares"


def test_score_that_a_metric_of_torchmetrics_has_not_is_refused_at_the_start(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"runner.args.score.*'error'.*MeanSquaredError"):
        run(toy, "tuple", "metric=MSE")


def test_function_that_gives_something_else_is_refused_by_name(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"model.class.*tensor_rows.*gives a Subset, expected a Module"):
        run(
            toy,
            "function",
            "model={'class': __import__('tests.runners.any_data', fromlist=['x']).tensor_rows, "
            "'args': {'count': 3}}",
        )


def test_inputs_that_the_model_does_not_take_are_named_with_its_signature(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"Linear.forward\(.*\).* inputs \['first', 'others'\].*by name"):
        run(toy, "dict", "model={'class': torch.nn.Linear, 'args': {'in_features': 3, 'out_features': 1}}")


def test_tiles_of_what_is_no_dict_of_images_are_refused(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"tile_size: 8, expected None: .* inputs are a Tensor"):
        run(toy, "tuple", "tile_size=8")


def test_non_finite_datapoints_are_named_before_the_first_step(toy: Toy) -> None:
    """Their class, index and name."""
    broken = "train_dataset={'class': Named, 'args': {'count': 10, 'noise': float('1e39')}}"
    named = (
        r"found before the first step: .*train_dataset \(Named\) has .*inputs of datapoint idx=\d \(name=row_"
    )
    with pytest.raises(TrainingError, match=named):
        run(toy, "tuple", broken)
    assert not (toy.work_dir / "metrics.jsonl").read_text()


def test_non_finite_datapoints_are_named_when_their_step_comes(toy: Toy) -> None:
    broken = "train_dataset={'class': Named, 'args': {'count': 10, 'noise': float('1e39')}}"
    with pytest.raises(TrainingError, match=r"epoch 0, step 0: .*Named\) has .*\(name=row_\d\)"):
        run(toy, "tuple", f"{broken}, rehearsal=False")


def test_data_that_cannot_be_read_again_are_not_called_finite() -> None:
    class Gone(DataLoader):
        def read_again(self, *_: object) -> Any:
            raise OSError("gone")

    loader = Gone([(1.0, 2.0)], batch_size=1)
    said = advice_of_data(World(), loader, 0, [0], "train_dataset (Rows)")
    assert said == "Whether the data are finite is not known: train_dataset (Rows) could not be read again."
