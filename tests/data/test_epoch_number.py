"""A method `set_epoch` of samplers, datasets and streams, which a loop of one's own would call."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, Dataset, IterableDataset, get_worker_info

from pylon.data import DataLoader
from tests.data.samples import SampleDataset

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")

WORKERS = pytest.mark.parametrize("num_workers", [0, 2])


class ByEpoch:
    """Keeps the number, and how often it came."""

    epoch, calls = 0, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch, self.calls = epoch, self.calls + 1


class Rotated(ByEpoch):
    """A sampler whose order follows from the number of the epoch alone."""

    def __iter__(self) -> Iterator[int]:
        return iter([(index + self.epoch) % 4 for index in range(4)])

    def __len__(self) -> int:
        return 4


class Harder(ByEpoch, Dataset[Any]):
    """Datapoints that hold the number of the epoch, and how often it came."""

    def __getitem__(self, index: int) -> Any:
        return torch.tensor([self.epoch, self.calls]), index

    def __len__(self) -> int:
        return 4


class Streamed(ByEpoch, IterableDataset[Any]):
    """The same as a stream, each worker a part."""

    def __iter__(self) -> Iterator[Any]:
        worker = get_worker_info()
        begin, step = (worker.id, worker.num_workers) if worker else (0, 1)
        for index in range(begin, 4, step):
            yield torch.tensor([self.epoch, self.calls]), index


class OwnHarder(ByEpoch, SampleDataset):
    """A BaseDataset whose datapoints name its epoch."""

    def _load_datapoint(self, annotation: int) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "epoch": self.epoch}


class SharedNumber(Streamed):
    """Shares number and count among processes, as streams of Hugging Face's datasets do the number."""

    def __init__(self) -> None:
        self.shared = torch.zeros(2, dtype=torch.int64).share_memory_()

    @property
    def epoch(self) -> int:  # type: ignore[override]  # of a class that keeps it itself
        return int(self.shared[0])

    @property
    def calls(self) -> int:  # type: ignore[override]  # the same
        return int(self.shared[1])

    def set_epoch(self, epoch: int) -> None:
        self.shared[0] = epoch
        self.shared[1] += 1


def epoch(loader: DataLoader, number: int | None, batches: Any = None) -> list[Any]:
    loader.set_epoch_seed(5, batches, epoch=number)
    return list(loader)


@WORKERS
def test_sampler_gets_the_number_of_the_epoch(num_workers: int) -> None:
    loader = DataLoader(Harder(), batch_size=2, sampler=Rotated(), num_workers=num_workers)

    def order(number: int | None, batches: Any = None) -> list[int]:
        return [idx for batch in epoch(loader, number, batches) for idx in batch["meta_info"]["idx"]]

    assert order(0) == [0, 1, 2, 3]
    assert order(3) == [3, 0, 1, 2]
    assert order(1, [1]) == [3, 0]
    assert order(None) == [1, 2, 3, 0], "it is not asked for another one"


def test_batch_sampler_may_leave_it_to_its_sampler() -> None:
    batches = BatchSampler(Rotated(), batch_size=2, drop_last=False)
    loader = DataLoader(Harder(), batch_size=None, batch_sampler=batches)
    assert [batch["meta_info"]["idx"] for batch in epoch(loader, 2)] == [[2, 3], [0, 1]]


@WORKERS
@pytest.mark.parametrize("kind", [Harder, Streamed])
def test_datasets_get_it_once_per_epoch_in_workers_that_persist_too(kind: type, num_workers: int) -> None:
    loader = DataLoader(kind(), batch_size=1, num_workers=num_workers, persistent_workers=num_workers > 0)
    for number in (3, 4, 0):
        # In order, each of these is an epoch more: the calls are counted in each worker.
        calls = [3, 4, 0].index(number) + 1
        assert [batch["inputs"].tolist() for batch in epoch(loader, number)] == [[[number, calls]]] * 4
    loader.close()


@WORKERS
def test_dataset_of_ones_own_base_gets_it(num_workers: int) -> None:
    loader = DataLoader(OwnHarder("", "train"), batch_size=2, num_workers=num_workers)
    seen = [batch["meta_info"]["epoch"] for batch in epoch(loader, 7)]
    assert seen and all(one == [7] * len(one) for one in seen)
    loader.close()


@WORKERS
def test_number_that_processes_share_is_set_by_one_of_them(num_workers: int) -> None:
    dataset = SharedNumber()
    loader = DataLoader(dataset, batch_size=1, num_workers=num_workers, persistent_workers=num_workers > 0)
    for number in (3, 4, 0):
        assert [batch["inputs"][0][0] for batch in epoch(loader, number)] == [number] * 4
    assert dataset.calls == 3
    loader.close()
