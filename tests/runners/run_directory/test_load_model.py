"""The trained model of a run in a program of one's own."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners import load_model
from pylon.runners.errors import ConfigError, RunDirectoryError
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_retention import run_again
from tests.runners.toy import ToyDataset, ToyModel

IMAGES = {"img_1": torch.rand(2, 3, 8, 8), "img_2": torch.rand(2, 3, 8, 8)}


def weights(path: Path, part: str = "model") -> dict[str, torch.Tensor]:
    content: Any = torch.load(path, weights_only=True)["parts"][part]
    return content["model"] if part == "average" else content


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.fixture
def run(toy: Toy) -> Path:
    path = toy.write("epochs=2")
    path.write_text(
        path.read_text()
        + "from pylon.runners import Retention\n"
        + "config['runner']['args']['retention'] = {'class': Retention, 'args': {'newest': 2}}\n"
    )
    run_again(path)
    return toy.work_dir


def test_best_and_named_checkpoints_are_loaded_without_data(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("there are no data on this machine")

    monkeypatch.setattr(ToyDataset, "__init__", refuse)
    before = torch.get_rng_state()
    model = load_model(run)
    assert torch.equal(torch.get_rng_state(), before)
    assert type(model) is ToyModel
    assert not model.training
    assert equal(model.state_dict(), weights(run / "checkpoint_best.pt"))
    first = load_model(str(run), checkpoint="epoch_0/checkpoint.pt", device=torch.device("cpu"))
    assert equal(first.state_dict(), weights(run / "epoch_0/checkpoint.pt"))
    newest = load_model(run, checkpoint=str((run / "checkpoint_latest.pt").resolve()))
    assert not torch.equal(first(**IMAGES), newest(**IMAGES))


def test_classes_of_data_and_trainer_need_not_be_there(run: Path) -> None:
    content = json.loads((run / "config.json").read_text())
    for key in ("train_dataset", "runner", "metric"):
        content[key]["class"] = "no_such_module:Gone"
    (run / "config.json").write_text(json.dumps(content))
    assert equal(load_model(run).state_dict(), weights(run / "checkpoint_best.pt"))


def test_model_of_the_configuration_file_is_found(make_toy: Callable[[str], Toy]) -> None:
    toy = make_toy("own")
    path = toy.write("epochs=1")
    path.write_text(
        path.read_text() + "class Own(ToyModel):\n    pass\nconfig['model'] = {'class': Own, 'args': {}}\n"
    )
    run_again(path)
    assert type(load_model(toy.work_dir)).__name__ == "Own"
    path.unlink()
    shutil.rmtree(toy.folder / "__pycache__", ignore_errors=True)
    from pylon.runners.config import files

    files.forget(path)
    with pytest.raises(ConfigError, match=r"model\.class is '.*toy_config_file\.py:Own': cannot be found"):
        load_model(toy.work_dir)


@pytest.mark.slow
@pytest.mark.parametrize("evaluated", [True, False])
def test_average_is_what_is_loaded_if_it_was_evaluated(toy: Toy, evaluated: bool) -> None:
    path = toy.write("epochs=1")
    args = f"{{'ema_decay': 0.9, 'channels_last': True, 'evaluate_ema': {evaluated}}}"
    path.write_text(
        path.read_text()
        + "from pylon.runners import Stepping\n"
        + f"config['runner']['args']['stepping'] = {{'class': Stepping, 'args': {args}}}\n"
    )
    run_again(path)
    model = load_model(toy.work_dir)
    part = "average" if evaluated else "model"
    assert equal(model.state_dict(), weights(toy.work_dir / "checkpoint_best.pt", part))
    assert model.state_dict()["layers.0.weight"].is_contiguous(memory_format=torch.channels_last)


@pytest.mark.slow
def test_lazy_model_is_loaded(toy: Toy) -> None:
    from tests.runners.training.test_lazy import write

    run_again(write(toy, "Lazy", changes="epochs=1"))
    assert load_model(toy.work_dir)(**IMAGES).shape == (2, 2, 8, 8)


def test_what_is_no_run_is_named_with_the_runs_inside_it(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=rf"has no config\.json\. Give one of: {run}\."):
        load_model(run.parent)
    with pytest.raises(RunDirectoryError, match=r"absent: is no run directory"):
        load_model(tmp_path / "absent")
    with pytest.raises(RunDirectoryError, match=r"epoch_9/checkpoint\.pt: is no file\. There are: check"):
        load_model(run, checkpoint="epoch_9/checkpoint.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: {**content, "model": 3}, "has no model"),
        (lambda content: [content], "has no model"),
        (lambda content: content["model"]["args"].update(channels=5) or content, "does not fit ToyModel: "),
    ],
)
def test_configuration_that_was_edited_is_named(
    run: Path, change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    content = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(change(content)))
    with pytest.raises(RunDirectoryError, match=words):
        load_model(run)
