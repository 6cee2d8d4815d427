import dataclasses
import json
import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pylon.metrics.directions import is_better
from pylon.runners.errors import ConfigError
from pylon.runners.run_directory import checkpoint
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import read_records
from pylon.runners.run_directory.newest import find_newest
from pylon.runners.run_directory.retention import KeptEpochs, Position, Retention
from pylon.runners.run_directory.snapshots import Snapshot
from pylon.storage import verify_manifest
from tests.runners.conftest import Toy
from tests.runners.run_directory.saves import (
    checkpointed_epochs,
    end_epoch,
    mid_epoch_checkpoints,
    moment,
    opened_saver,
)
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers

policies = st.builds(
    Retention,
    st.integers(1, 5),
    st.integers(1, 5),
    st.none() | st.integers(1, 7),
    st.none() | st.integers(1, 5),
)
# Few different values, so that there are ties.
scores = st.none() | st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.just(float("nan"))
directions = st.sampled_from(["higher", "lower"])


def followed(
    policy: Retention, values: Sequence[float | None], direction: Any, ends: Sequence[int | None] = ()
) -> KeptEpochs:
    """What stays after epochs with these scores, and steps of the run at their ends."""
    kept = KeptEpochs(policy, direction)
    for epoch, value in enumerate(values):
        kept.add(value, ends[epoch] if ends else None)
    return kept


def kept_epochs(
    policy: Retention, values: Sequence[float | None], direction: Any, ends: Sequence[int | None] = ()
) -> frozenset[int]:
    kept = followed(policy, values, direction, ends)
    return kept.for_now() | {epoch for epoch in range(len(values)) if kept.for_good(epoch)}


def kept_positions(
    policy: Retention, positions: Collection[Position], ends: Sequence[int | None]
) -> frozenset[Position]:
    kept = followed(policy, [None] * len(ends), "higher", ends)
    return frozenset(position for position in positions if kept.position_for_good(position))


@given(policies, st.lists(scores, max_size=30), directions)
def test_newest_and_best_are_kept_and_no_more_than_asked_for(
    policy: Retention, values: list, direction: Any
) -> None:
    kept = kept_epochs(policy, values, direction)
    count = len(values)
    assert kept <= set(range(count))
    assert set(range(max(0, count - policy.newest), count)) <= kept
    best = None
    for epoch, value in enumerate(values):
        held = None if best is None else values[best]
        if held is None or math.isnan(held) or is_better(direction, value, held):
            best = epoch
    assert best is None or best in kept, "what the trainer calls the best epoch"
    every = policy.every_epochs
    regular = {epoch for epoch in range(count) if every and (epoch + 1) % every == 0}
    assert regular <= kept
    assert len(kept) <= policy.newest + policy.best + len(regular)


@given(policies, st.lists(scores, min_size=1, max_size=30), directions)
def test_what_was_deleted_is_never_wanted_back(policy: Retention, values: list, direction: Any) -> None:
    held: set[int] = set()
    for count in range(1, len(values) + 1):
        kept = kept_epochs(policy, values[:count], direction)
        assert kept <= held | {count - 1}
        held = set(kept)


@given(policies, st.lists(scores, max_size=15), directions)
def test_no_kept_best_is_worse_than_a_deleted_one(policy: Retention, values: list, direction: Any) -> None:
    kept = kept_epochs(policy, values, direction)
    deleted = set(range(len(values))) - kept
    better = [
        [one for one in kept if not is_better(direction, values[gone], values[one])] for gone in deleted
    ]
    assert all(len(row) >= policy.best for row in better)


epoch_lengths = st.lists(st.integers(1, 7), max_size=8)


@given(policies, epoch_lengths, st.data())
def test_positions_at_multiples_stay_for_good_and_no_others(
    policy: Retention, lengths: list[int], data: st.DataObject
) -> None:
    ends = [sum(lengths[: epoch + 1]) for epoch in range(len(lengths))]
    everything = [
        (epoch, float(step), begin + step)
        for epoch, (begin, length) in enumerate(zip([0, *ends], [*lengths, 9], strict=True))
        for step in range(1, length + 1)
    ]
    there = data.draw(st.lists(st.sampled_from(everything), unique=True))
    trained = {(epoch, float("inf")) for epoch in range(len(lengths) + 1)}
    found = {(epoch, step) for epoch, step, _ in there}
    every = policy.every_steps
    expected = {(epoch, step) for epoch, step, number in there if every and number % every == 0}
    assert kept_positions(policy, found | trained, ends) == expected
    for known in range(len(ends) + 1):
        older = {(epoch, step) for epoch, step in found if epoch <= known}
        assert kept_positions(policy, older, ends[:known]) == expected & older, "known from its epoch on"
    kept = kept_epochs(policy, [0.5] * len(ends), "higher", ends)
    assert {epoch for epoch, end in enumerate(ends) if every and end % every == 0} <= kept


def test_steps_that_no_history_tells_keep_nothing_and_break_nothing() -> None:
    policy = Retention(every_steps=1)
    assert kept_positions(policy, [(0, 1.0), (1, 1.0), (5, 1.0)], [None]) == {(0, 1.0)}
    assert kept_epochs(policy, [0.1, 0.2], "higher", [None, 4]) == {1}


@pytest.mark.parametrize(
    ("every", "made_every", "words"),
    [
        (10, None, "10, expected checkpointing with every_steps"),
        (10, 4, "expected a multiple of checkpointing.args.every_steps, 4"),
    ],
)
def test_steps_at_which_no_checkpoint_is_made_cannot_be_kept(every: int, made_every: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Retention(every_steps=every).check_against(Checkpointing(every_steps=made_every))
    Retention(every_steps=12).check_against(Checkpointing(every_steps=4))
    Retention().check_against(Checkpointing())


@pytest.mark.parametrize("name", ["newest", "best", "every_epochs", "every_steps"])
def test_policy_that_would_keep_nothing_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}: 0, expected at least 1"):
        Retention(**{name: 0})


actions = st.lists(
    st.tuples(st.sampled_from(["epoch", "position"]), st.sampled_from([0.1, 0.5, None]), st.booleans()),
    max_size=14,
)


@pytest.mark.slow
@settings(max_examples=40)
@given(policies, actions)
def test_nothing_is_deleted_before_its_replacement_is_on_the_disk(
    tmp_path_factory: pytest.TempPathFactory, policy: Retention, todo: list[tuple[str, float | None, bool]]
) -> None:
    """Random saves on a disk that refuses at random: a launch can go on from all that was ever written."""
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    progress, furthest = Progress(), (0, 0.0)
    for_good: set[tuple[int, float]] = set()
    with (
        opened_saver(directory.root, retention=policy) as saver,
        pytest.MonkeyPatch.context() as patch,
    ):
        write, remove = Snapshot.write, checkpoint.remove
        refuse = False

        def written(self: Snapshot, to: RunDirectory) -> None:
            nonlocal furthest
            if refuse:
                raise OSError(28, "No space left on device")
            write(self, to)
            if self.content is not None:
                furthest = max(furthest, (self.progress.epoch, float(self.progress.step)))
                if not self.ends_epoch and policy.keeps_step(self.progress.global_step):
                    for_good.add((self.progress.epoch, float(self.progress.step)))

        def removed(path: Path) -> None:
            remove(path)
            assert position(next(directory.resumable())) >= furthest

        patch.setattr(Snapshot, "write", written)
        patch.setattr(checkpoint, "remove", removed)
        for kind, score, refuse in todo:  # noqa: B007 - `refuse` is read in `written`
            progress.step += 1
            progress.global_step += 1
            if kind == "position":
                saver.save(moment(progress))
            else:
                saver.save(end_epoch(progress, score))
            if furthest > (0, 0.0):
                newest = find_newest(directory)
                assert newest is not None
                found = checkpoint.restore(newest.path, newest.content, {})
                assert (found.epoch, found.step) == furthest
            there = {(epoch, step) for epoch, step, _ in mid_epoch_checkpoints(directory.root)}
            assert for_good <= there
            assert len(there - for_good) <= 1
        refuse = False
        saver.finish()
    if todo:
        newest = find_newest(directory)
        assert newest is not None
        found = checkpoint.restore(newest.path, newest.content, {})
        assert dataclasses.replace(found, losses_sha256="") == progress
        assert list(newest.losses) == [0.5] * progress.step
    history = list(read_records(directory.history))
    kept = kept_epochs(
        policy,
        [record["validation"]["f1"] for record in history],
        "higher",
        [record["global_step"] for record in history],
    )
    assert checkpointed_epochs(directory.root) == kept
    assert len(list(directory.root.glob("epoch_*/training_losses.pt"))) == progress.epoch


def position(path: Path) -> tuple[int, float]:
    epoch = int(path.parent.name.removeprefix("epoch_"))
    if path.name == "checkpoint.pt":
        return epoch + 1, 0.0
    return epoch, float(path.stem.removeprefix("step_"))


def test_configured_retention_decides_what_stays(toy: Toy) -> None:
    retention = "{'class': Retention, 'args': {'newest': 2, 'every_epochs': 2}}"
    path = toy.write(
        "epochs=5, runner={'class': SupervisedSingleTaskTrainer, 'args': "
        f"{{'score': 'f1_changed', 'retention': {retention}}}}}"
    )
    path.write_text("from pylon.runners import Retention\n" + path.read_text())
    run_again(path)
    kept = {path.parent.name for path in toy.work_dir.glob("epoch_*/checkpoint.pt")}
    assert kept >= {"epoch_1", "epoch_3", "epoch_4"}
    assert len(kept) <= 4


def with_every_steps(toy: Toy, changes: str = "", every: int = 1) -> Path:
    """3 epochs of 3 steps: steps 2, 4 and 8 are in the middle of epochs, and 6 is at the end of one."""
    retention = "{'class': Retention, 'args': {'every_steps': 2}}"
    path = toy.write(
        f"{changes} runner={{'class': SupervisedSingleTaskTrainer, 'args': {{'score': 'f1_changed', "
        f"'checkpointing': {{'class': Checkpointing, 'args': {{'every_steps': {every}}}}}, "
        f"'retention': {retention}}}}}"
    )
    path.write_text("from pylon.runners import Retention\n" + path.read_text())
    return path


def of_toy(toy: Toy) -> set[str]:
    return {str(path.relative_to(toy.work_dir)) for path in toy.work_dir.glob("epoch_*/*.pt")} - {
        f"epoch_{epoch}/training_losses.pt" for epoch in range(3)
    }


@pytest.mark.slow
@pytest.mark.parametrize("call", [3, 6, 7])
def test_checkpoints_of_every_second_step_stay_and_a_killed_run_goes_on_from_the_newest(
    make_toy: Callable[[str], Toy], call: int
) -> None:
    whole, killed = make_toy("whole"), make_toy("killed")
    run_again(with_every_steps(whole))
    best = f"epoch_{json.loads((whole.work_dir / 'test/test_results.json').read_text())['checkpoint'][-1]}"
    assert of_toy(whole) == {
        *("epoch_0/step_2.pt", "epoch_1/step_1.pt", "epoch_1/checkpoint.pt", "epoch_2/step_2.pt"),
        *("epoch_2/checkpoint.pt", f"{best}/checkpoint.pt"),
    }
    path = with_every_steps(killed, failing(call, "SIGKILL") + ",")
    assert killed.launch_file(path).returncode == -9
    let_it_go_on(killed)
    run_again(with_every_steps(killed))
    epoch, steps = divmod(call - 1, 3)
    within = f" and {steps} steps" if steps else ""
    log = (killed.work_dir / "train.log").read_text()
    assert f"resuming after {epoch} finished epochs{within}\n" in log
    assert of_toy(killed) == of_toy(whole)
    assert numbers(killed.work_dir) == numbers(whole.work_dir)
    for name in of_toy(killed):
        kept = checkpoint.load(killed.work_dir / name, {})
        verify_manifest(checkpoint.manifest_of(killed.work_dir / name))
        assert kept.global_step > 0


def test_every_steps_between_the_checkpoints_is_a_configuration_error(toy: Toy) -> None:
    key_path = r"runner\.args\.retention\.args\.every_steps"
    with pytest.raises(ConfigError, match=f"{key_path} is 2: expected a multiple of .*every_steps, 3"):
        run_again(with_every_steps(toy, every=3))


def test_wrong_retention_is_a_configuration_error_with_its_key(toy: Toy) -> None:
    path = toy.write(
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', "
        "'retention': {'class': Retention, 'args': {'newst': 2}}}}"
    )
    path.write_text("from pylon.runners import Retention\n" + path.read_text())
    with pytest.raises(ConfigError, match=r"runner\.args\.retention\.args\.newst.*mean 'newest'"):
        run_again(path)


def run_again(path: Path) -> Any:
    import io

    from rich.console import Console

    from pylon.runners.launch.file import run_file
    from pylon.runners.launch.run import Options

    return run_file(path, Options(device="cpu"), Console(file=io.StringIO()))
