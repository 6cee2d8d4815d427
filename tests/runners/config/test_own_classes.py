"""A user's own dataset, model, criterion, metric and trainer in one configuration file."""

import json
import subprocess
from pathlib import Path

import pytest

from pylon.runners.config import files, load_config, to_json
from tests.runners.conftest import REPOSITORY, started
from tests.runners.run_directory.test_interrupted import numbers

pytestmark = pytest.mark.slow

EXAMPLE = REPOSITORY / "configs" / "examples" / "own_classes.py"
# Kills its own process at a call of the criterion that the environment names.
KILLING = """
import os, signal

class Killing(SmoothCrossEntropy):
    calls = 0

    def forward(self, logits, target):
        self.calls += 1
        if str(self.calls) == os.environ.get("KILL_AT_CALL"):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(logits, target)

config["criterion"]["class"] = Killing
"""


def launch(path: Path, work_dir: Path, *arguments: str, kill_at: int = 0) -> subprocess.CompletedProcess[str]:
    main = str(REPOSITORY / "main.py")
    command = [main, "--config-filepath", str(path), "--work-dir", str(work_dir), "--device", "cpu"]
    return started([*command, *arguments], {"KILL_AT_CALL": str(kill_at)})


def write(folder: Path, added: str = "") -> Path:
    path = folder / "own-classes 1.py"  # no name that `import` could take
    path.write_text(EXAMPLE.read_text() + added)
    return path


def test_example_learns(tmp_path: Path) -> None:
    ended = launch(EXAMPLE, tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    result = json.loads((tmp_path / "run" / "state.json").read_text())["result"]
    assert result["test"]["wrong"] < 0.06, "marking nothing is wrong for 12 % of the pixels"
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    scores = [record["validation"]["wrong"] for record in history]
    assert result["validation"]["wrong"] == min(scores), "the metric says that lower is better"


@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_killed_in_an_epoch_it_goes_on_to_the_same_bits_whatever_starts_the_workers(
    tmp_path: Path, context: str
) -> None:
    path = write(tmp_path, KILLING)
    options = [
        "--set", "epochs=3",
        "runner.args.checkpointing={'class': 'pylon.runners:Checkpointing', 'args': {'every_steps': 1}}",
        f"train_dataloader.args.multiprocessing_context={context}",
    ]  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launch(path, whole, "--set", "epochs=3", "train_dataloader.args.num_workers=0").returncode == 0
    assert launch(path, killed, *options, kill_at=13).returncode == -9
    assert not (killed / "epoch_1" / "checkpoint.pt").exists(), "it must strike within the second epoch"
    ended = launch(path, killed, *options)
    assert ended.returncode == 0, ended.stderr
    assert "resuming after 1 finished epochs and 4 steps" in ended.stdout
    assert numbers(killed) == numbers(whole)


def test_resolved_configuration_runs_again_with_spawned_workers(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert launch(path, tmp_path / "first", "--set", "epochs=1").returncode == 0
    resolved = tmp_path / "first" / "config.json"
    assert f"{path}:Discs" in resolved.read_text()
    spawn = ["--set", "train_dataloader.args.multiprocessing_context=spawn"]
    ended = launch(resolved, tmp_path / "again", *spawn)
    assert ended.returncode == 0, ended.stderr
    assert numbers(tmp_path / "again") == numbers(tmp_path / "first")
    assert "this run is finished" in launch(resolved, tmp_path / "first").stdout


def test_classes_of_one_file_in_a_resolved_configuration_are_of_one_module(tmp_path: Path) -> None:
    path = write(tmp_path)
    resolved = tmp_path / "config.json"
    resolved.write_text(json.dumps(to_json(load_config(path))))
    config = load_config(resolved)
    module = files.module_of(path)
    for key in ("train_dataset", "val_dataset", "model", "criterion", "metric", "runner"):
        assert config[key]["class"] is getattr(module, config[key]["class"].__name__)


def test_resolved_configuration_takes_a_file_as_it_is_now(tmp_path: Path) -> None:
    path = write(tmp_path)
    resolved = tmp_path / "config.json"
    resolved.write_text(json.dumps(to_json(load_config(path))))
    write(tmp_path, "\nWrongPixels.marked = True\n")
    assert load_config(resolved)["metric"]["class"].marked


def test_file_of_a_resolved_configuration_that_is_gone_is_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert launch(path, tmp_path / "run", "--set", "epochs=1").returncode == 0
    path.unlink()
    ended = launch(tmp_path / "run" / "config.json", tmp_path / "again")
    assert ended.returncode == 2
    assert f"model.class is '{path}:DiscFinder': cannot be found (FileNotFoundError" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("name", ["run_0.py", "a-b c.py", "_2f.py", "größe.py", "x_y.z.py", "with'quote.py"])
def test_module_name_is_an_identifier_and_leads_back_to_the_file(tmp_path: Path, name: str) -> None:
    module = files.module_name(tmp_path / name)
    assert all(part.isidentifier() and part.isascii() for part in module.split("."))
    assert files.path_of(module) == (tmp_path / name).resolve()


WRONG = {
    "metric without directions": (
        "class Mine(WrongPixels):\n    directions = BaseMetric.directions\n"
        "config['metric']['class'] = Mine\n",
        2,
        ["metric.class is Mine", "is abstract", "directions (required by BaseMetric)"],
    ),
    "metric with a direction that is none": (
        "class Mine(WrongPixels):\n    directions = {'wrong': 'min'}\nconfig['metric']['class'] = Mine\n",
        2,
        ["Mine.directions is 'min' for 'wrong'", "'higher' or 'lower'"],
    ),
    "metric whose directions are no dict": (
        "class Mine(WrongPixels):\n    directions = 'lower'\nconfig['metric']['class'] = Mine\n",
        2,
        ["Mine.directions is a str", "{'f1': 'higher'}"],
    ),
    "metric that gives another score than it names": (
        "class Mine(WrongPixels):\n    directions = {'rong': 'lower'}\nconfig['metric']['class'] = Mine\n"
        "config['runner']['args']['score'] = 'rong'\n",
        2,
        ["Mine._scores gives ['wrong']", "['rong']", "the same scores in both"],
    ),
    "metric that keeps one row for a whole batch": (
        "class Mine(WrongPixels):\n"
        "    def _statistics(self, outputs, target, idx):\n"
        "        return super()._statistics(outputs, target, idx).sum(0, keepdim=True)\n"
        "config['metric']['class'] = Mine\n",
        2,
        ["Mine._statistics gives shape (1, 2) for 8 datapoints, expected a tensor (8, ...)"],
    ),
    "metric that is none": (
        "config['metric']['class'] = nn.Module\n",
        2,
        ["metric.class is Module", "expected a BaseMetric", "inherit"],
    ),
    "trainer without make_task": (
        "from pylon.runners import BaseTrainer\nclass Mine(BaseTrainer):\n    pass\n"
        "config['runner'] = {'class': Mine, 'args': {'score': 'wrong'}}\n",
        2,
        ["runner.class is Mine", "make_task (required by BaseTrainer)", "Define what is missing in Mine"],
    ),
    "trainer whose make_task gives nothing": (
        "class Mine(MirrorTrainer):\n    def make_task(self, model, criterion):\n        pass\n"
        "config['runner']['class'] = Mine\n",
        1,
        ["Mine.make_task gives None", "training_loss, predict, score"],
    ),
    "trainer that takes no context": (
        "class Mine(MirrorTrainer):\n    def __init__(self, score: str) -> None:\n        pass\n"
        "config['runner'] = {'class': Mine, 'args': {'score': 'wrong'}}\n",
        2,
        ["runner.args.context: is given by the runner, but Mine does not take it"],
    ),
    "trainer with an argument that its base does not know": (
        "config['runner']['args']['log_every_step'] = 3\n",
        2,
        ["runner.args.log_every_step is 3", "MirrorTrainer", "did you mean 'log_every_steps'"],
    ),
    "trainer with an argument of the wrong type for its base": (
        "config['runner']['args']['predictions'] = 'all'\n",
        2,
        ["runner.args.predictions is 'all'", "expected int"],
    ),
    "dataset that declares no inputs": (
        "class Mine(BaseDataset):\n    SPLITS = ('train',)\n"
        "    def _list_datapoints(self):\n        return [1]\n"
        "    def _load_datapoint(self, annotation):\n        pass\n"
        "config['train_dataset']['class'] = Mine\n",
        3,
        ["Mine does not declare INPUT_NAMES, LABEL_NAMES"],
    ),
    "dataset whose datapoints lack a key": (
        "class Mine(Discs):\n    INPUT_NAMES = ('image', 'depth')\nconfig['train_dataset']['class'] = Mine\n",
        3,
        ["Mine._load_datapoint gives inputs ['image']", "['depth', 'image']", "change INPUT_NAMES"],
    ),
    "dataset that gives two parts": (
        "class Mine(Discs):\n    def _load_datapoint(self, annotation):\n"
        "        return super()._load_datapoint(annotation)[:2]\nconfig['train_dataset']['class'] = Mine\n",
        3,
        ["Mine._load_datapoint gives (dict, dict)", "three dicts"],
    ),
    "criterion that gives no scalar": (
        "class Mine(SmoothCrossEntropy):\n    def forward(self, logits, target):\n"
        "        return nn.functional.cross_entropy(logits, target, reduction='none')\n"
        "config['criterion']['class'] = Mine\n",
        2,
        ["criterion Mine gives a loss of shape (4, 24, 24)", "loss.mean()"],
    ),
    "criterion that gives a float": (
        "class Mine(SmoothCrossEntropy):\n    def forward(self, logits, target):\n"
        "        return super().forward(logits, target).item()\nconfig['criterion']['class'] = Mine\n",
        2,
        ["criterion Mine gives float as loss"],
    ),
    "task whose loss depends on no weight": (
        "class Mine(MirrorTask):\n    def training_loss(self, batch):\n"
        "        return super().training_loss(batch).detach()\nMirrorTask = Mine\n",
        2,
        ["Mine.training_loss gives a loss that depends on no weight"],
    ),
    "class inside a function": (
        "def made():\n    class Mine(Discs):\n        pass\n    return Mine\n"
        "config['train_dataset']['class'] = made()\n",
        2,
        ["train_dataset.class is made.<locals>.Mine", "inside a function"],
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_use_is_one_clear_message(
    what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from main import main

    added, code, words = WRONG[what]
    path = write(tmp_path, added)
    arguments = ["--config-filepath", str(path), "--work-dir", str(tmp_path / "run"), "--device", "cpu"]
    in_workers = "dataset" in what and code == 3
    options = [] if in_workers else ["--set", "train_dataloader.args.num_workers=0"]
    assert main([*arguments, *options]) == code
    said = capsys.readouterr()
    for word in words:
        assert word in said.err
    assert "Traceback (most" not in said.err + said.out
