"""Every way in which a dataset can have no datapoint is reported as that, with its place."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from pylon.data import DatasetNotFoundError, EmptyDatasetError, refuse_empty
from pylon.data.change_detection import LEVIRCDDataset
from tests.runners.toy import ToyDataset


class FolderDataset(ToyDataset):
    """Takes the .npy files of a folder."""

    def _list_datapoints(self) -> Sequence[Any]:
        return sorted(self.data_root.glob("*.npy"))


class IteratingDataset(ToyDataset):
    """Fails if its folder is absent."""

    def _list_datapoints(self) -> Sequence[Any]:
        return sorted(self.data_root.iterdir())


def refusal(dataset: Any) -> str:
    with pytest.raises(EmptyDatasetError) as caught:
        refuse_empty(dataset, "val_dataset")
    assert caught.value.exit_code == 3
    return str(caught.value)


def test_absent_folder_is_the_cause(tmp_path: Path) -> None:
    text = refusal(FolderDataset(tmp_path / "nope", "val"))
    assert (
        f"val_dataset: FolderDataset of split 'val' has no datapoint: data_root {tmp_path}/nope does" in text
    )
    assert "val_dataset.args.data_root" in text


def test_folder_in_which_nothing_counts_is_shown(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / f"{number}.png").touch()
    text = refusal(FolderDataset(tmp_path, "val"))
    assert "has 7 files and folders (0.png, 1.png, 2.png, 3.png, 4.png, ...)" in text
    assert "FolderDataset._list_datapoints takes none" in text


def test_empty_folder_is_named_as_that(tmp_path: Path) -> None:
    assert f"data_root {tmp_path} has no files" in refusal(FolderDataset(tmp_path, "val"))


def test_indices_of_an_empty_list_are_not_blamed(tmp_path: Path) -> None:
    assert "has no files" in refusal(FolderDataset(tmp_path, "val", indices=[0, 1]))


def test_dataset_without_a_folder_is_named(tmp_path: Path) -> None:
    assert "TensorDataset has no datapoint (its length is 0)" in refusal(TensorDataset(torch.zeros(0, 3)))


def test_absent_folder_that_a_dataset_runs_into_is_missing_data(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"data_root .*/nope does not exist") as caught:
        IteratingDataset(tmp_path / "nope", "val")
    assert caught.value.exit_code == 3


def test_levir_list_that_names_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "list").mkdir()
    (tmp_path / "list/val.txt").write_text("\n  \n")
    with pytest.raises(EmptyDatasetError, match=r"list/val\.txt: LEVIR-CD split 'val' names no file"):
        LEVIRCDDataset(tmp_path, "val")


@pytest.mark.parametrize("split", ["val", "all"])
def test_levir_folders_without_images_are_shown_with_what_they_hold(tmp_path: Path, split: str) -> None:
    folder = tmp_path if split == "all" else tmp_path / split
    (folder / "A").mkdir(parents=True)
    (folder / "A/1.npy").touch()
    with pytest.raises(
        EmptyDatasetError, match=rf"split '{split}' has no images.*A has 1 file .*1\.npy"
    ) as caught:
        LEVIRCDDataset(tmp_path, split)
    assert str(folder) in str(caught.value)
