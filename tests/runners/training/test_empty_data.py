"""Runs on datasets without datapoints, or with fewer than a batch or than there are processes."""

import logging
from collections.abc import Callable

import pytest

from pylon.data import EmptyDatasetError
from pylon.runners.errors import ConfigError
from pylon.runners.outputs.report import warn_of_idle_ranks
from tests.runners.conftest import Toy
from tests.runners.training.test_evaluation_only import evaluate, write


def emptied(split: str) -> str:
    arguments = {"data_root": "/nope", "split": split}
    return f"{split}_dataset={{'class': EmptyDataset, 'args': {arguments!r}}}"


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_empty_dataset_ends_the_run_before_its_first_step(toy: Toy, split: str, drop_last: bool) -> None:
    loader = {"batch_size": 4, "drop_last": drop_last}
    with pytest.raises(EmptyDatasetError, match=rf"{split}_dataset: .* data_root /nope does not exist"):
        toy.run(f"{emptied(split)}, {split}_dataloader={{'class': DataLoader, 'args': {loader!r}}}")
    assert not (toy.work_dir / "metrics.jsonl").exists()


@pytest.mark.slow
def test_empty_test_data_end_an_evaluation_too(make_toy: Callable[[str], Toy]) -> None:
    trained, tested = make_toy("trained"), make_toy("tested")
    trained.run()
    path = write(tested, trained.work_dir / "checkpoint_best.pt", emptied("test"))
    with pytest.raises(
        EmptyDatasetError, match="test_dataset: EmptyDataset of split 'test' has no datapoint"
    ):
        evaluate(path)


@pytest.mark.parametrize(("split", "datapoints"), [("train", 12), ("val", 5), ("test", 5)])
def test_dataset_smaller_than_its_batch_names_both_ways_out(toy: Toy, split: str, datapoints: int) -> None:
    loader = "{'class': DataLoader, 'args': {'batch_size': 13, 'drop_last': True}}"
    with pytest.raises(ConfigError) as caught:
        toy.run(f"{split}_dataloader={loader}")
    text = str(caught.value)
    assert f"{split}_dataloader.args.batch_size is 13: expected at most {datapoints}" in text
    assert f"datapoints in {split}_dataset, or drop_last=False" in text


def test_more_processes_than_batches_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    warn_of_idle_ranks(4, 4)
    assert caplog.messages == []
    with caplog.at_level(logging.WARNING):
        warn_of_idle_ranks(3, 8)
    (text,) = caplog.messages
    assert "3 batches per epoch, for 8 processes: 5 of them only repeat" in text
    assert "--nproc-per-node" in text
