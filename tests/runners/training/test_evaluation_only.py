"""Evaluation-only runs: the test pass of a training, from a few lines more than its configuration."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylon.runners import Stepping, SupervisedSingleTaskEvaluator, SupervisedSingleTaskTrainer, evaluation_of
from pylon.runners.config import check_config
from pylon.runners.errors import RunStopped
from tests.runners.conftest import ENVIRONMENT, REPOSITORY, Toy
from tests.runners.run_directory.test_initial_weights import UNUSABLE
from tests.runners.run_directory.test_interrupted import failing
from tests.runners.toy import toy_config

pytestmark = pytest.mark.slow

OF_TOY = """
from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of
config = evaluation_of(config, SupervisedSingleTaskEvaluator, checkpoint={checkpoint!r}{more})
"""


def write(toy: Toy, checkpoint: Path, changes: str = "", more: str = "") -> Path:
    path = toy.write(changes)
    path.write_text(path.read_text() + OF_TOY.format(checkpoint=str(checkpoint), more=more))
    return path


def evaluate(path: Path, **options: Any) -> Any:
    import io

    from rich.console import Console

    from pylon.runners.launch.file import run_file
    from pylon.runners.launch.run import Options

    return run_file(path, Options(device="cpu", **options), Console(file=io.StringIO()))


def results(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "test" / "test_results.json").read_text())
    del content["time_s"], content["checkpoint"]
    return content


STEPPING = "{'class': Stepping, 'args': {'ema_decay': 0.5, 'channels_last': True}}"
RUNNER = "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', %s}}"
DRAWING = """
class Drawing(ToyModel):  # draws numbers in its test too
    def forward(self, img_1, img_2):
        logits = super().forward(img_1, img_2)
        return logits + 3 * torch.rand_like(logits)
config['model']['class'] = Drawing
"""


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ("", ""),
        (RUNNER % "'tile_size': 5, 'tile_overlap': 2", ""),
        (RUNNER % f"'stepping': {STEPPING}", ""),
        ("", DRAWING),
    ],
    ids=["plain", "tiles", "average and channels last", "random model"],
)
def test_scores_are_those_of_the_trainings_own_test_to_the_bit(
    make_toy: Callable[[str], Toy], changes: str, added: str
) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    path = toy.write(changes)
    head = "from pylon.runners import Stepping\n"
    path.write_text(head + path.read_text() + added)
    evaluate(path)
    best = toy.work_dir / "checkpoint_best.pt"
    evaluation = other.write(changes)
    of = OF_TOY.format(checkpoint=str(best), more="")
    evaluation.write_text(head + evaluation.read_text() + added + of)
    outcome = evaluate(evaluation)
    assert outcome.directory.name == "run-test"
    assert results(outcome.directory) == results(toy.work_dir)
    written = json.loads((outcome.directory / "test" / "test_results.json").read_text())
    assert written["checkpoint"] == str(best.resolve())
    again = evaluate(outcome.directory / "config.json", work_dir=other.folder / "again")
    assert results(again.directory) == results(toy.work_dir)


def test_shares_what_both_take_and_nothing_else(tmp_path: Path) -> None:
    stepping = {"class": Stepping, "args": {"channels_last": True}}
    arguments = {"score": "f1_changed", "tile_size": 4, "log_every_steps": 3, "stepping": stepping}
    training = toy_config(tmp_path / "run", runner={"class": SupervisedSingleTaskTrainer, "args": arguments})
    config = evaluation_of(training, SupervisedSingleTaskEvaluator, checkpoint="c.pt", tile_overlap=1)
    check_config(config, source="x")
    assert config["runner"]["args"] == {
        "score": "f1_changed", "tile_size": 4, "channels_last": True, "checkpoint": "c.pt", "tile_overlap": 1,
    }  # fmt: skip
    assert set(config) == {
        *("runner", "work_dir", "seed", "model", "metric", "monitor", "test_dataset", "test_dataloader")
    }
    config["test_dataset"]["args"]["split"] = "val"
    assert training["test_dataset"]["args"]["split"] == "test", "a change of one must not change the other"


@pytest.mark.parametrize(("make", "words"), UNUSABLE)
def test_checkpoint_that_cannot_be_used_is_exit_code_4_and_one_message(
    make_toy: Callable[[str], Toy],
    make: Callable[[Path], Path],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    from main import main

    toy, other = make_toy("training"), make_toy("evaluation")
    toy.run("epochs=1")
    path = write(other, make(toy.work_dir))
    assert main(["--config-filepath", str(path), "--device", "cpu"]) == 4
    said = capsys.readouterr()
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err + said.out


def test_checkpoint_of_another_model_names_what_does_not_fit(
    make_toy: Callable[[str], Toy], capsys: pytest.CaptureFixture[str]
) -> None:
    from main import main

    toy, other = make_toy("training"), make_toy("evaluation")
    toy.run("epochs=1")
    wider = "model={'class': ToyModel, 'args': {'channels': 6}}"
    path = write(other, toy.work_dir / "checkpoint_best.pt", wider)
    assert main(["--config-filepath", str(path), "--device", "cpu"]) == 4
    said = capsys.readouterr().err
    assert "runner.args.checkpoint" in said
    assert "layers.0.bias ((4,) there, (6,) in the model)" in said
    assert "initial_prefixes" not in said


def test_checkpoint_of_a_run_that_is_not_finished_is_tested_with_a_warning(
    make_toy: Callable[[str], Toy],
) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    with pytest.raises(RunStopped):
        toy.run(failing(5, "SIGTERM"))
    outcome = evaluate(write(other, toy.work_dir / "checkpoint_best.pt"))
    assert "is preempted, not finished" in (outcome.directory / "train.log").read_text()


OWN = """
from pylon.runners import SupervisedSingleTask, SupervisedSingleTaskEvaluator, evaluation_of

class TwiceTask(SupervisedSingleTask):
    def predict(self, batch):
        inputs = self.inputs(batch)
        turned = self.model(**{{name: image.flip(-1) for name, image in inputs.items()}})
        return super().predict(batch) + turned.flip(-1) + self.shift

class OwnEvaluator(SupervisedSingleTaskEvaluator):
    def __init__(self, context, *, shift: float = 0.0, **others):
        super().__init__(context, **others)
        self.shift = shift

    def make_task(self, model):
        task = TwiceTask(model, None, self.context.device)
        task.shift = torch.tensor([self.shift, 0.0]).view(1, 2, 1, 1)
        return task

config = evaluation_of(config, OwnEvaluator, checkpoint={checkpoint!r}, shift={shift})
"""


def test_own_evaluator_scores_what_it_predicts(make_toy: Callable[[str], Toy]) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    toy.run()
    scores = []
    for number, shift in enumerate((0.0, 1e6)):
        path = other.write()
        best = str(toy.work_dir / "checkpoint_best.pt")
        path.write_text(path.read_text() + OWN.format(checkpoint=best, shift=shift))
        scores.append(results(evaluate(path, work_dir=other.folder / str(number)).directory)["aggregated"])
    # The toy model looks at single pixels, so that the mirrored image changes nothing.
    assert scores[0] == results(toy.work_dir)["aggregated"]
    assert scores[1]["recall_changed"] == 0


def test_own_evaluator_without_make_task_is_named(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    from main import main

    path = toy.write()
    path.write_text(
        path.read_text()
        + "from pylon.runners import BaseEvaluator, evaluation_of\nclass Mine(BaseEvaluator):\n    pass\n"
        + "config = evaluation_of(config, Mine, checkpoint='c.pt')\n"
    )
    assert main(["--config-filepath", str(path)]) == 2
    assert "runner.class is Mine: is abstract: it has no make_task" in capsys.readouterr().err


def test_finished_evaluation_is_recognised(toy: Toy) -> None:
    toy.run("epochs=1")
    path = write(toy, toy.work_dir / "checkpoint_best.pt", "epochs=1")
    first = evaluate(path)
    assert evaluate(path).result == first.result
    assert "this run is finished (test f1_changed" in (first.directory / "train.log").read_text()


def test_stopped_evaluation_is_exit_code_75_and_begins_anew(make_toy: Callable[[str], Toy]) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    toy.run()
    path = write(other, toy.work_dir / "checkpoint_best.pt")
    stopping = (
        "\nimport os, signal\n"
        "class Stopping(ToyDataset):\n"
        "    def _load_datapoint(self, annotation):\n"
        "        if annotation == 2 and os.environ.get('STOP_NOW'):\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "        return super()._load_datapoint(annotation)\n"
        "config['test_dataset']['class'] = Stopping\n"
    )
    path.write_text(path.read_text() + stopping)
    command = [sys.executable, "main.py", "--config-filepath", str(path), "--device", "cpu"]
    codes = [
        subprocess.run(
            command,
            cwd=REPOSITORY,
            env={**ENVIRONMENT, **more},
            capture_output=True,
            timeout=100,
            check=False,
        ).returncode
        for more in ({"STOP_NOW": "1"}, {})
    ]
    assert codes == [75, 0]
    assert results(other.folder / "run-test") == results(toy.work_dir)


WIDE = """
class Wide(ToyModel):
    def __init__(self):
        super().__init__()
        self.layers[0] = nn.Conv2d(6, 4, 3, padding=1)

    def forward(self, img_1, img_2):
        print("channels last:", not self.layers[0].weight.is_contiguous())
        return super().forward(img_1, img_2)
config["model"]["class"] = Wide
"""


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_last_reaches_the_model(
    make_toy: Callable[[str], Toy], channels_last: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, other = make_toy("training"), make_toy("evaluation")
    path = toy.write("epochs=1")
    path.write_text(path.read_text() + WIDE)
    evaluate(path)
    capsys.readouterr()
    evaluation = other.write("epochs=1")
    of = OF_TOY.format(
        checkpoint=str(toy.work_dir / "checkpoint_best.pt"), more=f", channels_last={channels_last}"
    )
    evaluation.write_text(evaluation.read_text() + WIDE + of)
    evaluate(evaluation)
    said = capsys.readouterr().out
    assert f"channels last: {channels_last}" in said
    assert f"channels last: {not channels_last}" not in said
