"""Datasets and samplers of torch's kind: one seed per epoch decides all, for any number of workers."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    random_split,
)
from torch.utils.data.distributed import DistributedSampler

from pylon.data import DataLoader, DatasetContractError

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")

ROWS = TensorDataset(torch.arange(10.0).unsqueeze(1), torch.arange(10))


class Noise:
    """An augmentation with a generator of its own."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(3)


class NoisyRows(Dataset[Any]):
    """Draws from all generators that a user may draw from."""

    def __init__(self) -> None:
        self.noise = Noise()
        self.python = random.Random(1)
        self.own = torch.Generator().manual_seed(2)

    def __len__(self) -> int:
        return 11

    def __getitem__(self, index: int) -> Any:
        shared = [random.random(), np.random.random(), torch.rand(()).item()]
        own = [self.noise.rng.random(), self.python.random(), torch.rand((), generator=self.own).item()]
        return {"row": torch.tensor([index, *shared, *own], dtype=torch.float64), "labels": index % 2}


class Pairs:
    """An own batch sampler: two or three datapoints of a shuffled order."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __iter__(self) -> Iterator[list[int]]:
        order = np.random.permutation(self.count)
        yield from (list(order[:3]), list(order[3:5]), list(order[5:8]), list(order[8:10]))

    def __len__(self) -> int:
        return 4


def pairs_of(dataset: Any) -> Pairs:
    return Pairs(len(dataset))


def weighted() -> WeightedRandomSampler:
    return WeightedRandomSampler([1.0, 5.0, *([1.0] * 8)], num_samples=12)


def batches(loader: DataLoader, seed: int, wanted: list[int] | None = None) -> list[Any]:
    loader.set_epoch_seed(seed, wanted)
    return list(loader)


def rows(found: list[Any]) -> list[Any]:
    return [batch["inputs"]["row"].tolist() for batch in found]


def indices(found: list[Any]) -> list[list[int]]:
    return [batch["meta_info"]["idx"] for batch in found]


def test_random_augmentation_follows_from_the_epoch_seed_for_any_number_of_workers() -> None:
    alone = DataLoader(NoisyRows(), batch_size=3, shuffle=True)
    expected = rows(batches(alone, 7))
    assert rows(batches(alone, 8)) != expected
    assert rows(batches(alone, 7)) == expected
    assert rows(batches(alone, 7, [1, 3])) == [expected[1], expected[3]]
    loader = DataLoader(NoisyRows(), batch_size=3, shuffle=True, num_workers=2)
    assert rows(batches(loader, 7)) == expected
    assert rows(batches(loader, 7, [2, 3])) == expected[2:]
    loader.close()
    draws = [row[column] for batch in expected for row in batch for column in range(1, 7)]
    assert len(set(draws)) == 66, "each draw of each datapoint is another number"


def test_reading_leaves_the_global_generators_of_training_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    batches(DataLoader(NoisyRows(), batch_size=4), 0)
    batches(DataLoader(ROWS, batch_size=4, sampler=weighted()), 0)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(
    ("dataset", "count"),
    [
        (ROWS, 10),
        (Subset(ROWS, [1, 2, 5]), 3),
        (ConcatDataset([ROWS, ROWS]), 20),
        (random_split(ROWS, [7, 3], torch.Generator().manual_seed(0))[0], 7),
        ([(0.5, 1)] * 4, 4),
    ],
)
def test_torchs_own_datasets_and_lists_are_taken_as_they_are(dataset: Any, count: int) -> None:
    found = batches(DataLoader(dataset, batch_size=2), 0)
    assert [idx for batch in found for idx in batch["meta_info"]["idx"]] == list(range(count))
    expected = [float(dataset[index][0]) for index in range(count)]
    assert [float(value) for batch in found for value in batch["inputs"]] == expected


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        {"batch_size": 5, "sampler": weighted()},
        {"batch_size": 5, "sampler": RandomSampler},
        {"batch_size": 5, "sampler": RandomSampler(ROWS, generator=torch.Generator().manual_seed(4))},
        {"batch_sampler": pairs_of},
    ],
)
def test_sampler_gives_the_same_order_for_the_same_seed_and_from_any_batch_on(
    arguments: dict[str, Any], num_workers: int
) -> None:
    expected = indices(batches(DataLoader(ROWS, **arguments), 3))
    assert indices(batches(DataLoader(ROWS, **arguments), 4)) != expected
    loader = DataLoader(ROWS, num_workers=num_workers, **arguments)
    assert len(loader) == len(expected)
    torch.rand(5)
    assert indices(batches(loader, 3)) == expected
    assert indices(batches(loader, 3, [1, 2][: len(expected) - 1])) == expected[1:3]
    loader.close()


def test_weights_count() -> None:
    loader = DataLoader(ROWS, batch_size=12, sampler=weighted())
    drawn = [idx for seed in range(40) for batch in indices(batches(loader, seed)) for idx in batch]
    assert drawn.count(1) > 2 * drawn.count(0)


def test_variable_batches_are_the_samplers() -> None:
    loader = DataLoader(ROWS, batch_sampler=pairs_of)
    assert [len(batch) for batch in indices(batches(loader, 1))] == [3, 2, 3, 2]


class Short(Pairs):
    def __len__(self) -> int:
        return 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"batch_sampler": Short(10)}, "Short gives 4 of an epoch, but its length is 5"),
        ({"batch_size": 2, "sampler": [[0]]}, r"list gives no whole numbers .*single indices"),
        ({"batch_size": 2, "sampler": [0, 10]}, r"list gives \[10\], expected positions .* 0 to 9"),
    ],
)
def test_sampler_that_does_not_fit_ends_the_epoch_by_name(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(DatasetContractError, match=told):
        batches(DataLoader(ROWS, **arguments), 0)


@pytest.mark.parametrize(
    ("dataset", "arguments", "told"),
    [
        (ROWS, {}, "batch_size: None, expected at least 1"),
        (ROWS, {"batch_size": 2, "shuffle": True, "sampler": weighted()}, "shuffle: True, expected False"),
        (ROWS, {"batch_size": 2, "batch_sampler": pairs_of}, "batch_size: 2, expected nothing"),
        (ROWS, {"batch_size": 2, "sampler": iter([1])}, "sampler: list_iterator, expected .* __len__"),
        (ROWS, {"batch_size": 2, "sampler": DistributedSampler(ROWS, 2, 0)}, "deals the batches out"),
        (ROWS, {"batch_size": 2, "sampler": 3}, "sampler: int, expected a sampler"),
        (object(), {"batch_size": 2}, r"object, expected a dataset with __getitem__"),
    ],
)
def test_arguments_that_cannot_work_are_refused(dataset: Any, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        DataLoader(dataset, **arguments)


class Unreadable(Dataset[int]):
    """Fails at its datapoint 3."""

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> int:
        if index == 3:
            raise KeyError("missing")
        return index


def test_exception_of_a_dataset_names_the_datapoint() -> None:
    with pytest.raises(KeyError) as caught:
        batches(DataLoader(Unreadable(), batch_size=2), seed=1)
    assert caught.value.__notes__ == ["at datapoint 3 of Unreadable"]
