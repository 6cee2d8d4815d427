"""What may change between two launches of a run, and what is said of it."""

import io
import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from pylon.runners.errors import RunDirectoryError, RunStopped
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, numbers


def stopped(toy: Toy) -> Toy:
    with pytest.raises(RunStopped):
        toy.run(failing(5, "SIGTERM"))
    # What ended the run is the means of the test, and not part of the run.
    path = toy.work_dir / "config.json"
    content = json.loads(path.read_text())
    content["criterion"]["args"] = {}
    path.write_text(json.dumps(content))
    return toy


def loader_with(**args: object) -> str:
    return (
        f"train_dataloader={{'class': DataLoader, 'args': {{'batch_size': 4, 'shuffle': True, **{args!r}}}}}"
    )


@pytest.mark.ci
def test_what_cannot_change_a_number_may_change(make_toy: Callable[[str], Toy]) -> None:
    whole, changed = make_toy("whole"), stopped(make_toy("changed"))
    whole.run()
    runner = (
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', 'log_every_steps': 2, "
        "'checkpointing': {'class': Checkpointing, 'args': {'every_steps': 2, 'asynchronous': True}}}}"
    )
    changed.run(f"{runner}, {loader_with(num_workers=1, timeout_s=60.0)}")
    assert numbers(changed.work_dir) == numbers(whole.work_dir)


def test_what_can_change_a_number_is_refused(toy: Toy) -> None:
    stopped(toy)
    with pytest.raises(
        RunDirectoryError, match=r"train_dataloader.args.drop_last: was '\(absent\)', now True"
    ):
        toy.run(loader_with(drop_last=True))


@pytest.mark.ci
def test_changed_configuration_file_is_named(toy: Toy, caplog: pytest.LogCaptureFixture) -> None:
    stopped(toy)
    with caplog.at_level(logging.WARNING):
        toy.run()  # of a file that makes the criterion in another way
    assert "toy_config_file.py: changed since the launch" in caplog.text
    caplog.clear()
    toy.run()
    assert "changed since" not in caplog.text


def evaluate(path: Path) -> None:
    run_file(path, Options(device="cpu"), Console(file=io.StringIO()))


def test_finished_evaluation_tells_that_its_checkpoint_has_moved_on(
    toy: Toy, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    toy.run()
    checkpoint = tmp_path / "checkpoint_best.pt"
    epochs = sorted(toy.work_dir.glob("epoch_*/checkpoint.pt"))
    checkpoint.symlink_to(epochs[0])
    path = tmp_path / "evaluation.py"
    path.write_text(
        "from pylon.runners import SupervisedSingleTaskEvaluator, evaluation_of\n"
        "from tests.runners.toy import *\n"
        f"config = evaluation_of(toy_config({str(toy.work_dir)!r}), SupervisedSingleTaskEvaluator, "
        f"checkpoint={str(checkpoint)!r})\n"
    )
    evaluate(path)
    evaluate(path)
    assert "these scores are of" not in caplog.text
    checkpoint.unlink()
    checkpoint.symlink_to(toy.work_dir / "test" / "test_results.json")
    with caplog.at_level(logging.WARNING):
        evaluate(path)
    assert f"these scores are of {epochs[0]}" in caplog.text
    assert "--fresh tests that" in caplog.text


def test_debug_run_does_not_promise_to_go_on(toy: Toy) -> None:
    with pytest.raises(RunStopped, match="a --debug run starts from scratch each time"):
        toy.run(failing(5, "SIGTERM"), debug=True)
    (directory,) = toy.folder.glob("run*debug*")
    assert json.loads((directory / "state.json").read_text())["state"] == "preempted"
