import io
import json
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from pylon.data import DataLoader, DatasetNotFoundError
from pylon.runners.errors import ConfigError, RunDirectoryError, TrainingError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from pylon.runners.training.parts import build_loaders
from tests.runners.conftest import Toy
from tests.runners.toy import ToyDataset, ToyModel


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def weights(path: Path) -> dict[str, torch.Tensor]:
    parts: dict[str, dict[str, torch.Tensor]] = torch.load(path, weights_only=True)["parts"]
    return parts["model"]


@pytest.mark.draws
def test_run_directory_holds_everything_a_reader_looks_for(toy: Toy) -> None:
    outcome = toy.run()
    root = toy.work_dir
    assert outcome.directory == root
    for name in ("config.json", "environment.json", "state.json", "history.json", "train.log", "curves.png"):
        assert (root / name).stat().st_size > 0, name
    for epoch in range(3):
        losses = torch.load(root / f"epoch_{epoch}" / "training_losses.pt", weights_only=True)
        assert losses.shape == (3,)
        scores = read(root / f"epoch_{epoch}" / "validation_scores.json")
        assert 0 <= scores["aggregated"]["f1_changed"] <= 1
        assert scores["per_datapoint"]["idx"] == [0, 1, 2, 3, 4]
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    assert [(line["epoch"], line["step"], line["global_step"]) for line in lines] == [
        (number // 3, number % 3, number) for number in range(9)
    ]
    assert [line["learning_rate"] for line in lines[::3]] == [0.1, 0.05, 0.025]
    results = read(root / "test" / "test_results.json")
    assert outcome.result["test"]["f1_changed"] == results["aggregated"]["f1_changed"]
    with Image.open(root / "predictions" / "00000.png") as picture:
        assert picture.size[0] > 5 * 8
    assert len(list((root / "predictions").iterdir())) == 5
    assert read(root / "state.json")["state"] == "finished"


def test_score_below_the_baselines_is_in_log_and_results(toy: Toy) -> None:
    outcome = toy.run("optimizer={'class': torch.optim.SGD, 'args': {'lr': 1e-9}}")
    assert outcome.result["validation_better_than_baselines"] is False
    assert read(toy.work_dir / "state.json")["result"]["test_better_than_baselines"] is False
    assert read(toy.work_dir / "test" / "test_results.json")["better_than_baselines"] is False
    log = (toy.work_dir / "train.log").read_text()
    assert re.search(
        r"WARNING.* validation f1_changed: [\d.]+ is not better than predictions .*all_changed", log
    )
    assert re.search(r"WARNING.* test f1_changed: [\d.]+ is not better than predictions .*all_changed", log)


def test_only_latest_and_best_checkpoints_are_kept(toy: Toy) -> None:
    toy.run()
    history = read(toy.work_dir / "history.json")
    best = max(history, key=lambda record: record["validation"]["f1_changed"])["epoch"]
    kept = sorted(path.parent.name for path in toy.work_dir.glob("epoch_*/checkpoint.pt"))
    assert kept == sorted({f"epoch_{best}", "epoch_2"})
    assert (toy.work_dir / "checkpoint_best.pt").resolve().parent.name == f"epoch_{best}"
    assert (toy.work_dir / "checkpoint_latest.pt").resolve().parent.name == "epoch_2"


def test_best_epoch_is_tested_not_the_last(toy: Toy) -> None:
    # So large a learning rate makes the score jump: with this seed the first epoch is the best.
    outcome = toy.run("seed=10, optimizer={'class': torch.optim.SGD, 'args': {'lr': 2.0}}")
    scores = [record["validation"]["f1_changed"] for record in read(toy.work_dir / "history.json")]
    assert scores[0] > max(scores[1:]) + 0.1, "the test needs a run whose last epoch is not its best"
    assert outcome.result["best_epoch"] == 0
    assert (toy.work_dir / "checkpoint_best.pt").resolve().parent.name == "epoch_0"
    assert read(toy.work_dir / "test" / "test_results.json")["checkpoint"] == "epoch_0"


@pytest.mark.slow
def test_same_seed_same_weights_other_seed_other_weights(make_toy: Callable[[str], Toy]) -> None:
    first, again, other = make_toy("first"), make_toy("again"), make_toy("other")
    first.run()
    again.run()
    other.run("seed=6")
    path = "checkpoint_latest.pt"
    one, two, three = (weights(toy.work_dir / path) for toy in (first, again, other))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)


def test_finished_run_is_recognised_and_not_repeated(toy: Toy) -> None:
    first = toy.run()
    written = (toy.work_dir / "checkpoint_latest.pt").stat().st_mtime_ns
    assert toy.run().result == first.result
    score = first.result["test"]["f1_changed"]
    assert "this run is finished (validation f1_changed " in (toy.work_dir / "train.log").read_text()
    assert f"test f1_changed {score:.4f}); --fresh" in (toy.work_dir / "train.log").read_text()
    assert (toy.work_dir / "checkpoint_latest.pt").stat().st_mtime_ns == written


def test_fresh_starts_over_beside_and_keeps_the_old_run(toy: Toy) -> None:
    toy.run()
    former = weights(toy.work_dir / "checkpoint_latest.pt")
    fresh = toy.run("seed=6", fresh=True)
    assert fresh.directory.name == "run-fresh-1"
    assert all(
        torch.equal(former[name], value)
        for name, value in weights(toy.work_dir / "checkpoint_latest.pt").items()
    )
    assert toy.run("seed=6").directory == fresh.directory, "a plain command goes on with the newest attempt"


def test_directory_of_another_configuration_is_refused_with_the_difference(toy: Toy) -> None:
    toy.run()
    with pytest.raises(RunDirectoryError, match=r"(?s)optimizer\.args\.lr: was 0.1, now 0.2.*--fresh"):
        toy.run("optimizer={'class': torch.optim.SGD, 'args': {'lr': 0.2, 'momentum': 0.9}}")


def test_value_that_mends_a_failed_start_is_taken_over(toy: Toy) -> None:
    with pytest.raises(TrainingError):
        toy.run("criterion={'class': ToyCriterion, 'args': {'at_call': 2, 'what': 'raise'}}")
    toy.run()
    assert read(toy.work_dir / "state.json")["state"] == "finished"
    assert read(toy.work_dir / "config.json")["criterion"]["args"] == {}
    assert len((toy.work_dir / "metrics.jsonl").read_text().splitlines()) == 9
    assert "finished no epoch: criterion.args.at_call" in (toy.work_dir / "train.log").read_text()


def test_score_that_the_metric_does_not_have_is_refused_before_the_first_epoch(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"runner\.args\.score is 'f1_chnged': .*mean 'f1_changed'"):
        toy.run("runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_chnged'}}")
    assert not (toy.work_dir / "metrics.jsonl").exists()


TEST_DATASETS = """
from pylon.data import DataLoader, DatasetNotFoundError
class Absent(ToyDataset):
    def _list_datapoints(self):
        raise DatasetNotFoundError("the test images are not there")
"""


def with_test_dataset(toy: Toy, name: str, key: str = "class") -> Path:
    path = toy.write()
    change = f"config['test_dataset'][{key!r}] = {name}\n"
    path.write_text(path.read_text() + TEST_DATASETS + change)
    return path


@pytest.mark.parametrize(
    ("name", "key", "error"),
    [
        ("Absent", "class", DatasetNotFoundError),
        ("{'data_root': '.', 'split': 'test', 'indices': [99]}", "args", ConfigError),
    ],
)
def test_wrong_test_dataset_is_told_before_the_first_step(
    toy: Toy, name: str, key: str, error: type[Exception]
) -> None:
    path = with_test_dataset(toy, name, key)
    with pytest.raises(error):
        run_file(path, Options(device="cpu"), Console(file=io.StringIO()))
    assert not (toy.work_dir / "metrics.jsonl").exists()
    assert not (toy.work_dir / "epoch_0").exists()


def test_building_the_test_data_leaves_the_random_generators_to_the_training() -> None:
    def build_loader(split: str) -> DataLoader:
        if split == "test":
            torch.rand(7)
            random.random()
        return DataLoader(ToyDataset(".", split), batch_size=4)

    before = torch.get_rng_state(), random.getstate()
    loaders = build_loaders(build_loader, torch.device("cpu"))
    assert [len(loader) for loader in loaders if loader is not None] == [3, 2, 2]
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


@pytest.mark.parametrize(("split", "most"), [("train", 12), ("val", 5), ("test", 5)])
def test_batch_larger_than_its_data_is_refused_with_its_key(toy: Toy, split: str, most: int) -> None:
    loader = "{'class': DataLoader, 'args': {'batch_size': 13, 'drop_last': True}}"
    with pytest.raises(
        ConfigError, match=rf"{split}_dataloader\.args\.batch_size is 13: expected at most {most}"
    ):
        toy.run(f"{split}_dataloader={loader}")
    assert not list(toy.work_dir.glob("epoch_*"))


def test_resolved_config_runs_again_to_the_same_weights(toy: Toy, tmp_path: Path) -> None:
    toy.run()
    again = run_file(
        toy.work_dir / "config.json",
        Options(device="cpu", work_dir=tmp_path / "again"),
        Console(file=io.StringIO()),
    )
    first, second = (weights(root / "checkpoint_latest.pt") for root in (toy.work_dir, again.directory))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_debug_is_short_and_beside_the_real_run(toy: Toy) -> None:
    toy.run()
    before = {path: path.stat().st_mtime_ns for path in toy.work_dir.rglob("*") if path.is_file()}
    for _ in range(2):
        debug = toy.run("epochs=50", debug=True)
    assert debug.directory != toy.work_dir
    assert toy.work_dir not in debug.directory.parents
    assert len(read(debug.directory / "history.json")) == 3
    assert {path: path.stat().st_mtime_ns for path in toy.work_dir.rglob("*") if path.is_file()} == before


def test_nan_loss_fails_the_run_and_names_the_step(toy: Toy) -> None:
    with pytest.raises(TrainingError, match="epoch 1, step 1: the loss is nan"):
        toy.run("criterion={'class': ToyCriterion, 'args': {'at_call': 5}}")
    assert read(toy.work_dir / "state.json")["state"] == "failed"
    assert (toy.work_dir / "checkpoint_latest.pt").resolve().parent.name == "epoch_0"


@pytest.mark.slow
def test_damaged_newest_checkpoint_is_set_aside_and_the_older_one_used(
    toy: Toy, make_toy: Callable[[str], Toy]
) -> None:
    whole = make_toy("whole")
    whole.run()
    with pytest.raises(TrainingError):
        toy.run("criterion={'class': ToyCriterion, 'args': {'at_call': 7, 'what': 'raise'}}")
    newest = (toy.work_dir / "checkpoint_latest.pt").resolve()
    newest.write_bytes(newest.read_bytes()[:200])
    (toy.work_dir / "config.json").unlink()  # the criterion that fails is not part of the run that goes on
    toy.run()
    assert newest.with_suffix(".damaged").exists()
    assert "set aside" in (toy.work_dir / "train.log").read_text()
    first, second = (weights(root / "checkpoint_latest.pt") for root in (whole.work_dir, toy.work_dir))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_monitor_that_cannot_start_leaves_a_warning_not_a_failed_run(toy: Toy) -> None:
    toy.run("monitor={'class': UnstartableMonitor, 'args': {}}")
    assert read(toy.work_dir / "state.json")["state"] == "finished"
    assert "continues without its monitor" in (toy.work_dir / "train.log").read_text()


def test_no_autograd_graph_in_evaluation(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    graphs: list[tuple[bool, bool]] = []
    forward = ToyModel.forward

    def watched(self: ToyModel, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        logits = forward(self, img_1, img_2)
        graphs.append((self.training, logits.requires_grad))
        return logits

    monkeypatch.setattr(ToyModel, "forward", watched)
    toy.run()
    assert set(graphs) == {(True, True), (False, False)}


def test_test_area_on_tiles_scores_each_pixel_once(make_toy: Callable[[str], Toy]) -> None:
    whole, tiled = make_toy("whole"), make_toy("tiled")
    whole.run()
    runner = "{'score': 'f1_changed', 'tile_size': 5, 'tile_overlap': 3}"
    tiled.run(f"runner={{'class': SupervisedSingleTaskTrainer, 'args': {runner}}}")
    first, second = (read(one.work_dir / "test" / "test_results.json") for one in (whole, tiled))
    # The toy model looks at single pixels, so tiles change nothing where each pixel counts once.
    assert second["aggregated"] == first["aggregated"]


def test_evaluation_only_run_gives_the_trained_runs_test_scores(
    toy: Toy, make_toy: Callable[[str], Toy]
) -> None:
    toy.run()
    evaluation = make_toy("evaluation")
    training_keys = (
        "'epochs', 'criterion', 'optimizer', 'scheduler', 'train_dataset', 'train_dataloader', "
        "'val_dataset', 'val_dataloader', 'seed'"
    )
    path = evaluation.write()
    path.write_text(
        path.read_text()
        + "from pylon.runners import SupervisedSingleTaskEvaluator\n"
        + "seeds = {'init_seed': 1, 'test_seed': 2}\n"
        + f"config = {{key: config[key] for key in config if key not in ({training_keys})}} | seeds\n"
        + "config['runner'] = {'class': SupervisedSingleTaskEvaluator, 'args': {'score': 'f1_changed', "
        + f"'checkpoint': {str(toy.work_dir / 'checkpoint_best.pt')!r}}}}}\n"
    )
    run_file(path, Options(device="cpu"), Console(file=io.StringIO()))
    trained, tested = (read(one.work_dir / "test" / "test_results.json") for one in (toy, evaluation))
    assert tested["aggregated"] == trained["aggregated"]
    assert tested["per_datapoint"] == trained["per_datapoint"]
