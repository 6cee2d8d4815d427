"""A run on torch's IterableDataset: its epoch ends when the data end, and what cannot be kept is said."""

import json
from collections.abc import Callable

import pytest

from pylon.data import DataLoader, DatasetContractError, EmptyDatasetError
from pylon.runners.distributed import TrainingShare, World
from pylon.runners.errors import ConfigError, RunStopped, TrainingError
from pylon.runners.training.groups import groups_left
from tests.runners.any_data import Stream
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.training.test_any_data import run

SIZED = "train_dataset={'class': SizedStream, 'args': {'count': 10}}"
UNSHARED = "train_dataset={'class': Stream, 'args': {'count': 10, 'shared': False}}"
BY_STEP = (
    "runner={'class': SupervisedSingleTaskTrainer, "
    "'args': {'score': 'error', 'scheduler_interval': 'step'%s}}"
)
ONE_CYCLE = (
    "scheduler={'class': torch.optim.lr_scheduler.OneCycleLR, 'args': {'max_lr': 0.1, 'total_steps': %d}}"
)


def log_of(toy: Toy) -> str:
    return (toy.work_dir / "train.log").read_text()


def steps_of(toy: Toy) -> list[tuple[int, int]]:
    lines = (toy.work_dir / "metrics.jsonl").read_text().splitlines()
    return [(one["epoch"], one["step"]) for one in map(json.loads, lines)]


@pytest.mark.parametrize(("num_workers", "per_epoch"), [(0, 3), pytest.param(2, 4, marks=pytest.mark.slow)])
def test_killed_in_an_epoch_it_resumes_to_the_same_bits_and_says_what_it_reads_again(
    make_toy: Callable[[str], Toy], num_workers: int, per_epoch: int
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    run(whole, "stream", f"num_workers={num_workers}")
    assert steps_of(whole) == [(epoch, step) for epoch in range(3) for step in range(per_epoch)]
    with pytest.raises(RunStopped):
        run(stopped, "stream", f"at_call={per_epoch + 2}, num_workers={num_workers}")
    assert len(steps_of(stopped)) == per_epoch + 2
    let_it_go_on(stopped)
    run(stopped, "stream", f"num_workers={num_workers}")
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
    assert "the 2 batches of this epoch that were taken before are read again" in log_of(stopped)
    said = "train_dataset: Stream is an IterableDataset, whose place in an epoch cannot be saved"
    assert log_of(whole).count(said) == 1
    scores = json.loads((whole.work_dir / "test" / "test_results.json").read_text())
    assert len(scores["per_datapoint"]["error"]) == len(set(scores["per_datapoint"]["idx"])) == 6
    assert "an unknown number of training and an unknown number of validation datapoints" in log_of(whole)


def test_epoch_has_at_most_so_many_batches_as_configured(toy: Toy) -> None:
    run(toy, "stream", BY_STEP % ", 'max_batches_per_epoch': 2" + ", " + ONE_CYCLE % 6)
    assert steps_of(toy) == [(epoch, step) for epoch in range(3) for step in range(2)]


def test_schedule_that_ends_needs_a_known_number_of_steps(toy: Toy) -> None:
    with pytest.raises(ConfigError, match=r"scheduler_interval is 'step': expected 'epoch': .* __len__"):
        run(toy, "stream", BY_STEP % "" + ", " + ONE_CYCLE % 9)


def test_schedule_that_ends_goes_with_a_length(toy: Toy) -> None:
    run(toy, "stream", f"{SIZED}, {BY_STEP % ''}, {ONE_CYCLE % 9}")
    assert len(steps_of(toy)) == 9
    assert "10 training and an unknown number of validation datapoints" in log_of(toy)


def test_workers_that_all_give_the_same_are_named(toy: Toy) -> None:
    run(toy, "stream", f"num_workers=2, {UNSHARED}")
    assert "train_dataset: Stream gives the same to several of its 2 workers" in log_of(toy)
    assert "val_dataset: Stream gives the same" not in log_of(toy), "these share it out"


def test_stream_that_has_become_shorter_is_named() -> None:
    loader = DataLoader(Stream(3), batch_size=1)
    share = TrainingShare(None, accumulate=1, rank=0, ranks=1)
    left = list(groups_left(loader, 0, share, 1, epoch=0, world=World(), at_most=None))
    assert [group.last for group in left] == [False, True]
    with pytest.raises(DatasetContractError, match="Stream gives no more batches than the 3 that this epoch"):
        list(groups_left(loader, 0, share, 3, epoch=0, world=World(), at_most=None))


class OtherRank(World):
    """The first of two ranks; the other one has one batch fewer."""

    size = 2

    def maximum(self, values: list[int]) -> list[int]:
        most, least = values
        return [max(most, most - 1), max(least, 1 - most)]


def test_ranks_whose_streams_differ_end_with_advice_and_do_not_wait_for_one_another() -> None:
    share = TrainingShare(None, accumulate=1, rank=0, ranks=2)
    groups = groups_left(
        DataLoader(Stream(3), batch_size=1), 0, share, 0, epoch=0, world=OtherRank(), at_most=None
    )
    with pytest.raises(
        TrainingError, match=r"has ended on one of 2 ranks and not on another.*do not split it"
    ):
        list(groups)


@pytest.mark.parametrize("split", ["train", "val"])
def test_stream_without_datapoints_is_refused_before_the_first_step(toy: Toy, split: str) -> None:
    with pytest.raises(EmptyDatasetError, match=f"{split}_dataset: Stream gives no batch"):
        run(toy, "stream", f"{split}_dataset={{'class': Stream, 'args': {{'count': 0}}}}")
    assert not (toy.work_dir / "metrics.jsonl").exists() or not steps_of(toy)


def test_non_finite_datapoint_of_a_stream_is_named(toy: Toy) -> None:
    noisy = "train_dataset={'class': Stream, 'args': {'count': 10, 'noise': float('1e39')}}"
    with pytest.raises(TrainingError, match=r"inputs of datapoint idx=0"):
        run(toy, "stream", noisy)
