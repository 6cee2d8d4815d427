"""Generators that a dataset holds, wherever and since whenever; datasets that read from others."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    ConcatDataset,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    TensorDataset,
    random_split,
)

from pylon.data import BaseDataset, DataLoader, Datapoint
from pylon.data.own_generators import OwnGenerators
from tests.data.samples import SampleDataset

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")


class Rows(Dataset[Any]):
    """What `draw` gives for its generator, which is made when the first datapoint is read."""

    def __init__(self, make: Callable[[], Any], draw: Callable[[Any], float]) -> None:
        self.make, self.draw = make, draw
        self.generator: Any = None
        self.read = 0

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        self.read += 1
        if self.generator is None:
            self.generator = self.make()
        return torch.tensor(self.draw(self.generator), dtype=torch.float64), 0


class Slots:
    __slots__ = ("rng",)

    def __init__(self) -> None:
        self.rng = np.random.default_rng()


def other_legacy() -> np.random.RandomState:
    return np.random.RandomState(np.random.PCG64())


KINDS: dict[str, tuple[Callable[[], Any], Callable[[Any], float]]] = {
    "numpy": (np.random.default_rng, lambda rng: rng.random()),
    "legacy": (np.random.RandomState, lambda rng: rng.random_sample()),
    "legacy of another kind": (other_legacy, lambda rng: rng.random_sample()),
    "python": (random.Random, lambda rng: rng.random()),
    "torch": (torch.Generator, lambda rng: torch.rand((), generator=rng).item()),
    "in slots": (Slots, lambda slots: slots.rng.random()),
    "in a set": (lambda: {random.Random()}, lambda one: next(iter(one)).random()),
}  # fmt: skip


def epoch(dataset: Any, workers: int, seed: int = 5) -> list[float]:
    loader = DataLoader(dataset, batch_size=2, num_workers=workers)
    loader.set_epoch_seed(seed)
    found = [value for batch in loader for value in batch["inputs"].tolist()]
    loader.close()
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_generator_that_is_made_when_it_is_first_needed_is_seeded_in_each_process(kind: str) -> None:
    found = epoch(Rows(*KINDS[kind]), 0)
    assert len(set(found)) == 8
    assert [epoch(Rows(*KINDS[kind]), workers) for workers in (1, 2)] == [found, found]


def test_only_the_first_datapoint_of_a_process_is_read_again() -> None:
    rows = Rows(*KINDS["numpy"])
    epoch(rows, 0)
    assert rows.read == 9
    epoch(rows, 0)
    assert rows.read == 17


class Stream(IterableDataset[Any]):
    """Numbers of a generator that is made when it is first needed, and of the global ones."""

    rng: np.random.Generator | None = None

    def __iter__(self) -> Iterator[torch.Tensor]:
        of_process = [random.random(), np.random.random(), torch.rand(()).item()]
        if self.rng is None:
            self.rng = np.random.default_rng()
        order = self.rng.permutation(8)
        yield torch.tensor([*of_process, float(order[0])])
        yield from (torch.tensor([self.rng.random(), 0.0, 0.0, float(number)]) for number in order[1:])


class Order(Sampler[int]):
    """The same for the order of rows."""

    rng: np.random.Generator | None = None

    def __len__(self) -> int:
        return 8

    def __iter__(self) -> Iterator[int]:
        of_process = random.randrange(8) + np.random.randint(8) + torch.randint(8, ()).item()
        if self.rng is None:
            self.rng = np.random.default_rng()
        yield from ((of_process + self.rng.permutation(8)) % 8).tolist()


def two_epochs(loader: DataLoader, first: int) -> list[list[Any]]:
    """What the epochs of two seeds give, beginning with the `first` of them."""
    found: list[list[Any]] = [[], []]
    for number in (first, 1 - first):
        loader.set_epoch_seed(number)
        found[number] = [batch["inputs"].tolist() for batch in loader]
    loader.close()
    return found


@pytest.mark.parametrize("workers", [0, 1])
def test_stream_that_makes_a_generator_is_the_same_in_an_epoch_whenever_its_process_began(
    workers: int,
) -> None:
    epochs, others = (
        two_epochs(DataLoader(Stream(), batch_size=2, num_workers=workers), first) for first in (0, 1)
    )
    assert epochs == others
    assert epochs[0] != epochs[1]


def test_order_of_a_sampler_that_makes_a_generator_is_the_same_whenever_its_process_began() -> None:
    epochs, others = (
        two_epochs(DataLoader(TensorDataset(torch.arange(8.0)), batch_size=2, sampler=Order()), first)
        for first in (0, 1)
    )
    assert epochs == others
    assert epochs[0] != epochs[1]


def test_datapoint_that_is_read_again_finds_the_global_generators_as_at_first() -> None:
    def both(rng: np.random.Generator) -> float:
        return np.random.random() + torch.rand(()).item() + rng.random()

    rows = Rows(np.random.default_rng, both)
    assert epoch(rows, 0) == epoch(rows, 0)


class Later(Rows):
    """Makes its generator when a certain row is read."""

    def __getitem__(self, index: int) -> Any:
        if index == 5:
            return super().__getitem__(index)
        drawn = np.random.random() if self.generator is None else self.draw(self.generator)
        return torch.tensor(drawn, dtype=torch.float64), 0


@pytest.mark.parametrize("kind", KINDS)
def test_generator_that_is_made_later_is_seeded_from_the_row_on_that_made_it(kind: str) -> None:
    def drawn(workers: int) -> float:
        return epoch(Later(*KINDS[kind]), workers)[5]

    assert drawn(0) == drawn(0) == drawn(1) == drawn(2)


def test_dataset_without_generators_is_read_once() -> None:
    own, read = OwnGenerators(), []
    for number in range(3):
        own.load(object(), number, lambda number=number: read.append(number))  # type: ignore[misc]
    assert read == [0, 1, 2]


class Drawn(SampleDataset):
    """Draws from the global generators, and by its transforms."""

    def __init__(self) -> None:
        super().__init__("", "train", transforms=add_noise)  # type: ignore[arg-type]

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        drawn = random.random() + np.random.random() + torch.rand(()).item()
        return inputs, labels, {**meta_info, "drawn": drawn}


def add_noise(datapoint: Datapoint, generator: torch.Generator) -> Datapoint:
    datapoint["meta_info"]["noise"] = torch.rand((), generator=generator).item()
    return datapoint


class Mixed(Dataset[Any]):
    """Reads two datapoints for one."""

    def __init__(self, dataset: BaseDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[(index + random.randrange(7)) % 7]


AROUND: dict[str, Callable[[BaseDataset], Any]] = {
    "concatenated": lambda dataset: ConcatDataset([dataset, Drawn()]),
    "subset": lambda dataset: Subset(dataset, [4, 2, 0]),
    "split": lambda dataset: random_split(dataset, [3, 4])[1],
    "mixed": Mixed,
}


def drawn(dataset: Any, seed: int, workers: int = 0) -> list[float]:
    loader = DataLoader(dataset, batch_size=2, num_workers=workers)
    loader.set_epoch_seed(seed)
    found = [batch["meta_info"] for batch in loader]
    loader.close()
    return [float(number) for meta in found for name in ("drawn", "noise") for number in meta[name]]


@pytest.mark.parametrize("around", AROUND)
def test_dataset_that_another_one_reads_from_is_random_by_the_epoch(around: str) -> None:
    dataset = AROUND[around](Drawn())
    first, second = drawn(dataset, 1), drawn(dataset, 2)
    assert not set(first) & set(second)
    assert len(set(first)) == len(first)
    assert drawn(dataset, 1, workers=2) == first == drawn(dataset, 1)


def test_plain_index_outside_a_loader_has_the_seed_of_the_dataset() -> None:
    dataset = Drawn()
    before = dataset[3]["meta_info"]["noise"]
    drawn(Subset(dataset, [3]), 1)
    assert dataset[3]["meta_info"]["noise"] == before
