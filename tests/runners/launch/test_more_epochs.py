"""A run that is trained longer than it was begun for, and changes that are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch.optim import lr_scheduler

from pylon.runners.config import load_config
from pylon.runners.config.schedule_ends import end_of
from pylon.runners.errors import RunDirectoryError, RunStopped
from pylon.runners.launch import run as launch_run
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, numbers
from tests.runners.run_directory.test_retention import run_again

S = "torch.optim.lr_scheduler"


def schedule(name: str, **args: Any) -> str:
    return f"scheduler={{'class': {S}.{name}, 'args': {args!r}}}"


SCHEDULES = {
    "none": "scheduler=None",
    "steps": schedule("StepLR", step_size=2, gamma=0.5),
    "plateau": schedule("ReduceLROnPlateau", patience=0, threshold=0.5),
    "a long cosine": schedule("CosineAnnealingLR", T_max=10),
}


def epochs(count: int, changes: str) -> str:
    return f"epochs={count}, {changes}"


@pytest.mark.slow
@pytest.mark.parametrize("changes", SCHEDULES.values(), ids=SCHEDULES.keys())
def test_finished_run_with_more_epochs_has_the_bits_of_a_longer_one(
    make_toy: Callable[[str], Toy], changes: str
) -> None:
    whole, longer = make_toy("whole"), make_toy("longer")
    whole.run(epochs(5, changes))
    assert longer.run(epochs(3, changes)).result["epochs"] == 3
    assert longer.run(epochs(5, changes)).result["epochs"] == 5
    assert numbers(longer.work_dir) == numbers(whole.work_dir)
    log = (longer.work_dir / "train.log").read_text()
    assert "epochs: 3 become 5, as if the run had begun with them" in log
    assert "resuming after 3 finished epochs" in log
    recorded = json.loads((longer.work_dir / "config.json").read_text())
    assert (recorded["epochs"], len(recorded["train_seeds"])) == (5, 5)
    assert longer.run(epochs(5, changes)).result["epochs"] == 5


def test_finished_run_with_more_epochs_reports_that_its_last_launch_finished(toy: Toy) -> None:
    toy.run("epochs=1")
    ended_at = json.loads((toy.work_dir / "state.json").read_text())["ended_at"]
    toy.run("epochs=2")
    log = (toy.work_dir / "train.log").read_text()
    assert f"the last launch finished at {ended_at}" in log
    assert "ended without noting how" not in log


@pytest.mark.slow
def test_stopped_run_with_more_epochs_has_the_bits_of_a_longer_one(make_toy: Callable[[str], Toy]) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run("epochs=5")
    with pytest.raises(RunStopped):
        stopped.run(f"epochs=3, {failing(5, 'SIGTERM')}")
    content = json.loads((stopped.work_dir / "config.json").read_text())
    content["criterion"]["args"] = {}
    (stopped.work_dir / "config.json").write_text(json.dumps(content))
    stopped.run("epochs=5")
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


@pytest.mark.slow
def test_listed_seeds_may_become_more(toy: Toy) -> None:
    def seeds(count: int) -> str:
        lists = f"train_seeds={[*range(count)]}, val_seeds={[*range(9, 9 + count)]}"
        return f"epochs={count}, init_seed=1, test_seed=2, {lists}"

    def run(count: int) -> Any:
        path = toy.write(seeds(count))
        path.write_text(path.read_text() + "del config['seed']\n")
        return run_again(path)

    run(1)
    run(2)
    assert len(json.loads((toy.work_dir / "history.json").read_text())) == 2
    path = toy.write(seeds(3))
    path.write_text(path.read_text() + "del config['seed']\nconfig['train_seeds'][0] = 7\n")
    with pytest.raises(RunDirectoryError, match=r"train_seeds: was \[0, 1\], now \[7, 1, 2\]"):
        run_again(path)


@pytest.mark.slow
def test_command_with_more_epochs_trains_on_also_from_the_recorded_configuration(toy: Toy) -> None:
    assert toy.launch("epochs=1").returncode == 0
    ended = toy.launch("epochs=1", "--set", "epochs=2")
    assert ended.returncode == 0, ended.stderr
    recorded = toy.folder / "recorded.json"
    recorded.write_text((toy.work_dir / "config.json").read_text())
    ended = toy.launch_file(recorded, "--set", "epochs=3")
    assert ended.returncode == 0, ended.stderr
    assert len(json.loads((toy.work_dir / "history.json").read_text())) == 3
    ended = toy.launch_file(recorded, "--set", "seed=7")
    assert ended.returncode == 4
    assert "seed: was 5, now 7" in ended.stderr


def refusal(toy: Toy, changes: str) -> str:
    with pytest.raises(RunDirectoryError) as raised:
        toy.run(changes)
    return str(raised.value)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            schedule("CosineAnnealingLR", T_max=1),
            "scheduler: CosineAnnealingLR with T_max=1 raises the learning rate again",
        ),
        (
            schedule("OneCycleLR", max_lr=0.1, total_steps=3)
            + ", runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', "
            "'scheduler_interval': 'step'}}",
            "scheduler: OneCycleLR takes 3 steps and no more",
        ),
        (
            "scheduler={'class': Own, 'args': {'total': 1}}",
            "scheduler: Own was given 1, and so is made for 1",
        ),
    ],
)
def test_schedule_that_ends_refuses_more_epochs_and_shows_the_way_on(
    toy: Toy, changes: str, reason: str
) -> None:
    def write(count: int) -> Path:
        path = toy.write(epochs(count, changes))
        text = path.read_text().replace("\n", "\nfrom tests.runners.launch.test_more_epochs import Own\n", 1)
        path.write_text(text)
        return path

    run_again(write(1))
    before = (toy.work_dir / "state.json").read_text()
    with pytest.raises(RunDirectoryError) as raised:
        run_again(write(2))
    said = str(raised.value)
    assert f"holds a run of 1 epochs, which cannot become 2: {reason}" in said
    assert f"--set runner.args.initial_checkpoint={toy.work_dir / 'checkpoint_best.pt'}" in said
    assert (toy.work_dir / "state.json").read_text() == before
    run_again(write(1))


class Own(lr_scheduler.StepLR):
    """A schedule of the user's, of which nothing is known."""

    def __init__(self, optimizer: Any, total: int) -> None:
        super().__init__(optimizer, total)


def test_fewer_epochs_are_refused(toy: Toy) -> None:
    toy.run("epochs=2")
    assert "2 epochs, which cannot become 1: it was begun with more" in refusal(toy, "epochs=1")


def test_refused_change_names_what_was_written_and_nothing_that_follows_from_it(toy: Toy) -> None:
    toy.run("epochs=2")
    assert json.loads((toy.work_dir / "config.json").read_text())["seed"] == 5
    said = refusal(toy, "epochs=2, seed=6")
    rows = [line for line in said.splitlines() if line.startswith("  ")]
    assert rows == ["  seed: was 5, now 6"]
    assert "Give the former value to resume it." in said
    assert "initial_checkpoint=" in said
    more = refusal(toy, "epochs=3, seed=6")
    assert [line.split(":")[0].strip() for line in more.splitlines()[1:3]] == ["epochs", "seed"]


def test_run_directory_that_lists_its_seeds_alone_is_still_the_same_run(toy: Toy) -> None:
    """Version 0.2 recorded so."""
    toy.run("epochs=2")
    path = toy.work_dir / "config.json"
    content = json.loads(path.read_text())
    del content["seed"]
    path.write_text(json.dumps(content))
    assert load_config(path)["train_seeds"] == content["train_seeds"]
    assert toy.run("epochs=2").result["epochs"] == 2
    said = refusal(toy, "epochs=2, seed=6")
    rows = [line for line in said.splitlines() if line.startswith("  ")]
    assert rows == [f"  seed: was '(seeds listed one by one, init_seed {content['init_seed']})', now 6"]
    assert toy.run("epochs=3").result["epochs"] == 3


def test_launch_that_dies_while_it_notes_the_epochs_loses_nothing(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.run("epochs=1")

    former = launch_run.write_header

    def killed(*arguments: Any) -> None:
        former(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launch_run, "write_header", killed)
        with pytest.raises(KeyboardInterrupt):
            toy.run("epochs=2")
    assert toy.run("epochs=2").result["epochs"] == 2


@pytest.mark.parametrize(
    ("cls", "args", "steps"),
    [
        (lr_scheduler.StepLR, {"step_size": 3}, None),
        (lr_scheduler.LinearLR, {"total_iters": 3}, None),
        (lr_scheduler.LinearLR, {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 7}, 7),
        (lr_scheduler.PolynomialLR, {}, 5),
        (lr_scheduler.OneCycleLR, {"max_lr": 1.0, "epochs": 3, "steps_per_epoch": 4}, 12),
        (lr_scheduler.CosineAnnealingWarmRestarts, {"T_0": 3}, None),
        (lr_scheduler.ReduceLROnPlateau, {}, None),
    ],
)
def test_end_of_a_schedule_follows_from_its_arguments(
    cls: type, args: dict[str, Any], steps: int | None
) -> None:
    node = {"class": cls, "args": args}
    found = end_of(node)
    assert (None if found is None else found[0]) == steps
    warm = {"class": lr_scheduler.LinearLR, "args": {}}
    inside = {"schedulers": [warm, node], "milestones": [2]}
    ends = end_of({"class": lr_scheduler.SequentialLR, "args": inside})
    assert (None if ends is None else ends[0]) == (None if steps is None else steps + 2)
    chain = end_of({"class": lr_scheduler.ChainedScheduler, "args": {"schedulers": [warm, node]}})
    assert (None if chain is None else chain[0]) == steps
