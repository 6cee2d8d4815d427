"""A run is resumed on the datapoints that it began with."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.errors import RunDirectoryError, TrainingError
from pylon.runners.run_directory import checkpoint
from pylon.storage import describe_file, write_manifest
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.toy import ToyDataset

pytestmark = pytest.mark.slow

Lists = Callable[[str, Sequence[int]], None]


@pytest.fixture
def lists(monkeypatch: pytest.MonkeyPatch) -> Lists:
    """Let the dataset of a split list other datapoints from now on."""

    def change(split: str, datapoints: Sequence[int]) -> None:
        former = ToyDataset._list_datapoints

        def listed(self: ToyDataset) -> Sequence[Any]:
            return datapoints if self.split == split else former(self)

        monkeypatch.setattr(ToyDataset, "_list_datapoints", listed)

    return change


def stop_in_the_second_epoch(toy: Toy) -> Path:
    """A run that has finished its first epoch; its newest checkpoint."""
    with pytest.raises(TrainingError):
        toy.run(failing(5, "raise"))
    let_it_go_on(toy)
    return toy.work_dir / "epoch_0" / "checkpoint.pt"


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("datapoints", [range(20), range(4), [1, 0, *range(2, 12)]])
def test_other_training_or_validation_data_are_refused_by_name(
    toy: Toy, lists: Lists, split: str, datapoints: Sequence[int]
) -> None:
    newest = stop_in_the_second_epoch(toy)
    before = {path: path.read_bytes() for path in (newest, toy.work_dir / "metrics.jsonl")}
    lists(split, datapoints)
    with pytest.raises(RunDirectoryError) as raised:
        toy.run()
    count = 12 if split == "train" else 5
    assert f"{split}_dataset: was {count} datapoints, list " in str(raised.value)
    assert f"now {len(datapoints)} datapoints, list " in str(raised.value)
    assert "--fresh" in str(raised.value)
    assert {path: path.read_bytes() for path in before} == before


def test_other_test_data_are_a_warning(toy: Toy, lists: Lists) -> None:
    stop_in_the_second_epoch(toy)
    lists("test", range(3))
    assert toy.run().result["test"] is not None
    assert "the test data have changed" in (toy.work_dir / "train.log").read_text()


def test_run_of_an_earlier_version_is_resumed_and_its_data_are_noted(make_toy: Callable[[str], Toy]) -> None:
    whole, old = make_toy("whole"), make_toy("old")
    whole.run()
    path = stop_in_the_second_epoch(old)
    content = torch.load(path, weights_only=True)
    del content["progress"]["data"]
    torch.save(content, path)
    write_manifest(checkpoint.manifest_of(path), {path.name: describe_file(path)})
    old.run()
    assert "after 1 finished epochs" in (old.work_dir / "train.log").read_text()
    assert numbers(old.work_dir) == numbers(whole.work_dir)
    newest = torch.load(old.work_dir / "checkpoint_latest.pt", weights_only=True)
    assert sorted(newest["progress"]["data"]) == ["test", "train", "val"]
