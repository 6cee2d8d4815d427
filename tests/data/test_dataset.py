import random
from typing import Any

import numpy as np
import pytest
import torch

from pylon.data import Datapoint, DatasetContractError, SeededIndex, TransformError
from pylon.data.change_detection import ChangeDetectionDataset
from pylon.data.transforms import ColorJitter, Compose, RandomCrop
from tests.data.samples import GloballyRandomDataset, SampleDataset

AUGMENT = Compose([RandomCrop(16), ColorJitter(0.5, 0.5, 0.5, 0.1)])


class GivesIdx(SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "idx": 0}


class GivesOtherInputs(SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return {"image": inputs["img_1"]}, labels, meta_info


class GivesNoLabel(SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, _, meta_info = super()._load_datapoint(annotation)
        return inputs, {}, meta_info


class GivesFloatLabels(ChangeDetectionDataset, SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, {"change_map": labels["change_map"].float()}, meta_info


class GivesNumpyBytes(ChangeDetectionDataset, SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return {**inputs, "img_2": np.zeros((3, 4, 4), np.uint8)}, labels, meta_info


class GivesGreyImage(ChangeDetectionDataset, SampleDataset):
    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return {**inputs, "img_2": inputs["img_2"][0]}, labels, meta_info


def test_idx_is_the_position_in_the_dataset() -> None:
    assert [datapoint["meta_info"]["idx"] for datapoint in SampleDataset("", "train")] == list(range(7))


def test_idx_of_a_subset_counts_anew_and_names_stay() -> None:
    dataset = SampleDataset("", "train", indices=[5, 2])
    found = [(point["meta_info"]["idx"], point["meta_info"]["name"]) for point in dataset]
    assert found == [(0, "train-5"), (1, "train-2")]


def test_dataset_with_an_idx_of_its_own_is_refused_by_name() -> None:
    with pytest.raises(DatasetContractError, match=r"GivesIdx\._load_datapoint gives meta_info\['idx'\]=0"):
        GivesIdx("", "train")[0]


@pytest.mark.parametrize(
    ("cls", "told"),
    [
        (GivesOtherInputs, r"GivesOtherInputs.*inputs \['image'\].*declares \['img_1', 'img_2'\]"),
        (GivesNoLabel, r"GivesNoLabel.*labels \[\].*declares \['change_map'\]"),
        (
            GivesFloatLabels,
            r"GivesFloatLabels.*labels\['change_map'\].*float32, expected \(H, W\) torch.int64",
        ),
        (GivesNumpyBytes, r"GivesNumpyBytes.*inputs\['img_2'\].*expected \(C, H, W\) torch.float32"),
        (GivesGreyImage, r"GivesGreyImage.*inputs\['img_2'\] as \(24, 32\).*expected \(C, H, W\)"),
    ],
)
def test_dataset_that_breaks_its_declaration_is_refused_by_name(cls: type[SampleDataset], told: str) -> None:
    with pytest.raises(DatasetContractError, match=told):
        cls("", "train")[0]


def test_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'validation', but SampleDataset has train, test"):
        SampleDataset("", "validation")


@pytest.mark.parametrize(
    ("indices", "told"),
    [
        ([0, 7], r"indices: \[7\], expected positions from 0 to 6"),
        ([-1], r"indices: \[-1\]"),
        ([2, 3, 2], r"indices: \[2\] are there more than once"),
        ([], "at least one"),
    ],
)
def test_wrong_indices_are_refused(indices: list[int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SampleDataset("", "train", indices=indices)


def test_index_beyond_the_end_ends_iteration() -> None:
    with pytest.raises(IndexError):
        SampleDataset("", "train")[7]


def same(first: Datapoint, second: Datapoint) -> bool:
    return torch.equal(first["inputs"]["img_1"], second["inputs"]["img_1"])


def test_augmentation_follows_from_seed_and_index() -> None:
    dataset = SampleDataset("", "train", transforms=AUGMENT, seed=4)
    forward = [dataset[index] for index in range(7)]
    backward = [dataset[index] for index in reversed(range(7))]
    assert all(map(same, forward, reversed(backward)))
    assert all(same(forward[index], dataset[SeededIndex(index, 4)]) for index in range(7))
    assert not any(same(forward[index], dataset[SeededIndex(index, 5)]) for index in range(7))


def test_neighbouring_datapoints_are_augmented_differently() -> None:
    dataset = SampleDataset("", "train", transforms=AUGMENT)
    assert not same(dataset[0], dataset[1])


def test_loading_leaves_the_global_generators_of_training_alone() -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.random(3)
    torch.manual_seed(1)
    np.random.seed(1)
    first = GloballyRandomDataset("", "train")[0]["meta_info"]["draws"]
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.random(3) == expected[1]).all()
    assert GloballyRandomDataset("", "train")[0]["meta_info"]["draws"] == first


class OwnGeneratorDataset(SampleDataset):
    """A user's dataset that draws from a generator of its own."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.rng = np.random.default_rng(1)

    def _load_datapoint(self, annotation: Any) -> Any:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "draw": self.rng.random()}


def test_generator_of_the_dataset_is_seeded_for_each_datapoint_too() -> None:
    dataset = OwnGeneratorDataset("", "train")
    forward = [dataset[index]["meta_info"]["draw"] for index in range(7)]
    backward = [dataset[index]["meta_info"]["draw"] for index in reversed(range(7))]
    assert forward == backward[::-1]
    assert len(set(forward)) == 7
    assert dataset[SeededIndex(0, 5)]["meta_info"]["draw"] != forward[0]


class LoadsAnotherBefore(GloballyRandomDataset):
    """Such as a dataset that mixes two datapoints, and draws how after it has loaded the second."""

    def _load_datapoint(self, annotation: Any) -> Any:
        if annotation == "train-3":
            self[5]
        return super()._load_datapoint(annotation)


def test_batch_leaves_the_global_generators_of_training_alone_and_is_that_of_single_datapoints() -> None:
    dataset = LoadsAnotherBefore("", "train")
    single = [dataset[index]["meta_info"]["draws"] for index in range(7)]
    random.seed(1)
    np.random.seed(1)
    np.random.randn()  # leaves a second normal number waiting, which is part of the state
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    batch = dataset.__getitems__(range(7))
    after = random.getstate(), np.random.get_state(legacy=False), torch.get_rng_state()
    assert [datapoint["meta_info"]["draws"] for datapoint in batch] == single
    assert single[3] == GloballyRandomDataset("", "train")[3]["meta_info"]["draws"]
    assert before[0] == after[0]
    assert (before[1]["has_gauss"], before[1]["gauss"]) == (after[1]["has_gauss"], after[1]["gauss"])
    assert (before[1]["state"]["key"] == after[1]["state"]["key"]).all()
    assert torch.equal(before[2], after[2])
    # A batch that fails is no exception, and single datapoints after it are kept apart as before it.
    with pytest.raises(IndexError):
        dataset.__getitems__([0, 99])
    assert random.getstate() == before[0]
    dataset[0]
    assert random.getstate() == before[0]


def test_transform_that_cannot_be_applied_tells_the_datapoint() -> None:
    with pytest.raises(TransformError, match=r"does not fit .*idx=2 of SampleDataset 'train', .*train-2"):
        SampleDataset("", "train", transforms=RandomCrop(100))[2]


def test_transform_that_loses_the_datapoint_is_refused_by_name() -> None:
    class Forgetful:
        def __call__(self, datapoint: Datapoint, generator: torch.Generator) -> Any:
            return datapoint["inputs"]

    with pytest.raises(DatasetContractError, match="Forgetful gives dict without inputs, labels"):
        SampleDataset("", "train", transforms=Forgetful())[0]
