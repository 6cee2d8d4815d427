"""torch's IterableDataset: read by workers in turn, seeded by the epoch, and refused where it cannot work."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, get_worker_info

from pylon.data import DataLoader, DatasetContractError, DatasetDamagedError, digest_of

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create")


class Shuffled(IterableDataset[Any]):
    """Numbers in an order drawn when it is opened, each worker a part, with draws of every kind."""

    def __init__(self, count: int, *, shared: bool = True) -> None:
        self.count = count
        self.shared = shared
        self.rng = np.random.default_rng(3)

    def __iter__(self) -> Iterator[Any]:
        order = torch.randperm(self.count).tolist()
        worker = get_worker_info()
        for index in order[worker.id :: worker.num_workers] if worker and self.shared else order:
            draws = [random.random(), np.random.random(), torch.rand(()).item(), self.rng.random()]
            yield torch.tensor([index, *draws], dtype=torch.float64), index


class Sized(Shuffled):
    def __len__(self) -> int:
        return self.count


class Failing(Shuffled):
    def __iter__(self) -> Iterator[Any]:
        yield torch.zeros(1)
        if self.count:
            raise FileNotFoundError(2, "no such file", "part_2.txt")
        yield 1 / self.count


def batches(loader: DataLoader, seed: int, wanted: Any = None) -> list[Any]:
    loader.set_epoch_seed(seed, wanted)
    return list(loader)


def rows(found: list[Any]) -> list[Any]:
    return [batch["inputs"].tolist() for batch in found]


def indices(found: list[Any]) -> list[Any]:
    return [batch["meta_info"]["idx"] for batch in found]


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_epoch_follows_from_its_seed_and_is_the_same_from_any_batch_on(num_workers: int) -> None:
    loader = DataLoader(Shuffled(11), batch_size=2, num_workers=num_workers)
    expected = batches(loader, 7)
    assert rows(batches(loader, 8)) != rows(expected)
    torch.rand(3)
    assert rows(batches(loader, 7)) == rows(expected), "persistent workers open it again"
    assert rows(batches(loader, 7, [1, 3])) == [rows(expected)[1], rows(expected)[3]]
    loader.close()
    assert rows(batches(loader, 7)) == rows(expected), "so do new ones"
    loader.close()
    seen = [row for batch in rows(expected) for row in batch]
    assert sorted(row[0] for row in seen) == list(range(11)), "each once, shared out by the workers"
    running = [idx for batch in indices(expected) for idx in batch]
    assert len(set(running)) == 11
    assert running == list(range(11)) or num_workers == 2
    # Only the first of each worker draws what the others do: it comes with the order.
    assert len({number for row in seen for number in row[1:]}) >= 40


def test_one_worker_gives_what_the_process_itself_reads() -> None:
    here = batches(DataLoader(Shuffled(5), batch_size=2), 3)
    loader = DataLoader(Shuffled(5), batch_size=2, num_workers=1)
    assert rows(batches(loader, 3)) == rows(here)
    loader.close()


def test_reading_leaves_the_generators_of_training_alone() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    loader = DataLoader(Shuffled(5), batch_size=2)
    loader.set_epoch_seed(0)
    list(loader)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("num_workers", "sizes"), [(0, [3, 3, 3, 3, 1]), (2, [3, 3, 3, 3, 1])])
def test_last_batch_is_left_out_on_request(num_workers: int, sizes: list[int]) -> None:
    loader = DataLoader(Shuffled(13), batch_size=3, num_workers=num_workers)
    dropping = DataLoader(Shuffled(13), batch_size=3, num_workers=num_workers, drop_last=True)
    assert [len(one) for one in rows(batches(loader, 1))] == sizes
    assert [len(one) for one in rows(batches(dropping, 1))] == sizes[:-1]
    loader.close()
    dropping.close()


def test_more_than_its_length_is_refused_with_the_reason() -> None:
    loader = DataLoader(Sized(6, shared=False), batch_size=2, num_workers=2)
    assert len(loader) == 4
    with pytest.raises(DatasetContractError, match=r"Sized .* length, 6\. .*2 workers.*get_worker_info"):
        batches(loader, 1)
    loader.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 2, "shuffle": True}, "shuffle: True, expected nothing: an IterableDataset"),
        ({"batch_size": 2, "sampler": [1]}, r"sampler: \[1\], expected nothing: an IterableDataset"),
        ({"batch_sampler": [[1]]}, "batch_sampler: .*expected nothing: an IterableDataset"),
        ({}, "batch_size: None, expected at least 1"),
    ],
)
def test_arguments_that_order_it_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataLoader(Shuffled(3), **arguments)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_error_names_the_datapoint(num_workers: int) -> None:
    loader = DataLoader(Failing(1), batch_size=2, num_workers=num_workers)
    with pytest.raises(DatasetDamagedError, match=r"datapoint 1 of Failing cannot be read.*part_2\.txt"):
        batches(loader, 0)
    loader.close()
    with pytest.raises(ZeroDivisionError) as caught:
        batches(DataLoader(Failing(0), batch_size=2), 0)
    assert caught.value.__notes__ == ["at datapoint 1 of Failing"]


def test_run_data_are_compared_by_length_and_by_the_workers_that_read_them() -> None:
    prints = [
        DataLoader(one, batch_size=2, num_workers=count).dataset.fingerprint()
        for one, count in ((Shuffled(3), 0), (Shuffled(3), 1), (Shuffled(3), 2), (Sized(3), 0))
    ]
    assert prints[0] == prints[1] == "datapoints of Shuffled"
    assert prints[2:] == ["datapoints of Shuffled, read by 2 workers", "3 datapoints of Sized"]


def test_digest_of_a_batch_is_that_of_its_numbers_and_texts_whatever_else_it_holds() -> None:
    def digest(number: float, text: str) -> str:
        inputs = {"x": torch.tensor(number), "text": [text], "count": 3, "array": np.array([number])}
        odd = [object(), torch.eye(2).to_sparse(), torch.tensor(1j).conj(), torch.zeros(1, device="meta")]
        odd.append(torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged))
        return digest_of({"inputs": inputs, "labels": [*odd, None]})

    assert digest(1.0, "a") == digest(1.0, "a")
    assert len({digest(1.0, "a"), digest(2.0, "a"), digest(1.0, "b")}) == 3
