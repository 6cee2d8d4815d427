from pathlib import Path

import pytest
import torch

from pylon.data import Datapoint, DatasetContractError, collate
from tests.data.samples import SampleDataset, UnevenDataset


@pytest.mark.parametrize("size", [1, 2, 5])
def test_meta_info_stays_plain_at_any_batch_size(size: int) -> None:
    dataset = SampleDataset("", "train")
    batch = collate([dataset[index] for index in range(size)])
    assert batch["inputs"]["img_1"].shape == (size, 3, 24, 32)
    assert batch["labels"]["change_map"].shape == (size, 24, 32)
    assert batch["meta_info"]["idx"] == list(range(size))
    assert batch["meta_info"]["name"] == [f"train-{index}" for index in range(size)]


def test_meta_info_of_any_kind_is_kept_as_it_is() -> None:
    values = [Path("a.png"), None, (3, 4), {"nested": [1]}, 0.5]
    points: list[Datapoint] = [
        {"inputs": {}, "labels": {}, "meta_info": {"idx": number, "value": value}}
        for number, value in enumerate(values)
    ]
    assert collate(points)["meta_info"]["value"] == values


def test_meta_info_that_some_datapoints_lack_is_none_there() -> None:
    points: list[Datapoint] = [
        {"inputs": {}, "labels": {}, "meta_info": {"idx": 0}},
        {"inputs": {}, "labels": {}, "meta_info": {"idx": 1, "score": 3}},
    ]
    assert collate(points)["meta_info"] == {"idx": [0, 1], "score": [None, 3]}


def test_shape_mismatch_names_the_datapoints_and_the_shapes() -> None:
    dataset = UnevenDataset("", "train")
    with pytest.raises(DatasetContractError, match=r"idx=4 and idx=5 .*\(3, 24, 32\).*\(3, 8, 32\)"):
        collate([dataset[4], dataset[5]])


def test_batch_does_not_share_memory_with_its_datapoints() -> None:
    datapoint = SampleDataset("", "train")[0]
    batch = collate([datapoint])
    batch["inputs"]["img_1"].zero_()
    assert torch.count_nonzero(datapoint["inputs"]["img_1"])
