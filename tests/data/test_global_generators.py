"""The global generators are seeded for each datapoint, as if all of them always were."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from pylon.data import DataLoader, python_state
from pylon.data.global_generators import GlobalGenerators
from pylon.data.numpy_state import NumpyState
from pylon.data.seeding import datapoint_seed
from tests.data.samples import GloballyRandomDataset

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 1 worker processes")

COUNT, SIZE = 8, 4
Load = Callable[[int], Any]


class Rows(Dataset[Any]):
    """Notes which datapoints are read, and gives what a function makes of the index."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.read: list[int] = []

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        self.read.append(index)
        return torch.tensor(self.load(index), dtype=torch.float64), 0


def without_draw(index: int) -> float:
    return float(index)


def draw_for_some(index: int) -> float:
    return random.random() if index in {3, 6} else 0.0


def draw_a_pair_for_some(index: int) -> float:
    return random.gauss(0.0, 1.0) if index in {3, 6} else 0.0


def fail_by_draw(index: int) -> float:
    if index in {3, 6} and random.random() > _as_seeded(random.Random.random)[index]:
        raise OSError("would not be raised with the generator seeded")
    return draw_for_some(index)


def _as_seeded(draw: Callable[[random.Random], float]) -> list[float]:
    return [draw(random.Random(datapoint_seed(5, index))) for index in range(COUNT)]


def epoch(rows: Any, workers: int = 0, **others: Any) -> list[float]:
    loader = DataLoader(rows, batch_size=SIZE, num_workers=workers, **others)
    loader.set_epoch_seed(5)
    found = [value for batch in loader for value in batch["inputs"].tolist()]
    loader.close()
    return found


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("load", [draw_for_some, draw_a_pair_for_some])
def test_dataset_that_draws_for_a_late_datapoint_alone_draws_what_it_would_if_all_were_seeded(
    load: Load, workers: int
) -> None:
    draw = random.Random.random if load is draw_for_some else (lambda one: one.gauss(0.0, 1.0))
    expected = [value if index in {3, 6} else 0.0 for index, value in enumerate(_as_seeded(draw))]
    random.seed(99)
    random.gauss(0.0, 1.0)  # leaves a second normal number waiting
    assert epoch(Rows(load), workers) == expected


def test_datapoint_is_loaded_again_only_when_the_first_draw_of_its_dataset_is_found() -> None:
    rows = Rows(draw_for_some)
    epoch(rows)
    assert rows.read == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    still = Rows(without_draw)
    assert epoch(still) == [float(index) for index in range(COUNT)]
    assert still.read == list(range(COUNT))


def test_error_that_an_unseeded_draw_has_caused_is_none() -> None:
    assert epoch(Rows(fail_by_draw)) == [0.0] * 3 + _second_draws(3) + [0.0] * 2 + _second_draws(6) + [0.0]


def _second_draws(index: int) -> list[float]:
    generator = random.Random(datapoint_seed(5, index))
    generator.random()
    return [generator.random()]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("load", [without_draw, draw_for_some])
def test_collate_function_draws_as_if_the_last_datapoint_had_been_seeded(load: Load, workers: int) -> None:
    found = epoch(Rows(load), workers, collate_fn=with_a_draw)
    assert found[::2] == [_drawn_after(load, last) for last in (SIZE - 1, COUNT - 1)]


def _drawn_after(load: Load, index: int) -> float:
    generator = random.Random(datapoint_seed(5, index))
    if load is draw_for_some and index in {3, 6}:
        generator.random()
    return generator.random()


def with_a_draw(datapoints: Sequence[Any]) -> Any:
    return torch.tensor([random.random(), float(len(datapoints))], dtype=torch.float64), torch.zeros(2)


@pytest.mark.parametrize("whole_batches", [False, True])
def test_dataset_within_a_dataset_draws_the_same_in_a_worker_as_in_the_training_process(
    *, whole_batches: bool
) -> None:
    inner = GloballyRandomDataset("", "train")

    def read(index: int) -> Any:
        return inner.__getitems__([index])[0] if whole_batches else inner[index]

    def load(index: int) -> float:
        drawn: tuple[float, ...] = read(index % 7)["meta_info"]["draws"]
        return sum(drawn) + random.random() + np.random.random() + torch.rand(()).item()

    assert epoch(Rows(load), 1) == epoch(Rows(load))


@pytest.mark.parametrize("workers", [0, 1])
def test_collate_function_draws_the_same_from_each_generator_with_and_without_workers(workers: int) -> None:
    def draw(datapoints: Sequence[Any]) -> Any:
        drawn = random.random() + np.random.random() + torch.rand(()).item()
        return torch.tensor([drawn], dtype=torch.float64), torch.zeros(1)

    found = epoch(Rows(without_draw), workers, collate_fn=draw)
    assert len(set(found)) == COUNT // SIZE
    assert found == [_all_drawn_after(last) for last in (SIZE - 1, COUNT - 1)]


def _all_drawn_after(index: int) -> float:
    seed = datapoint_seed(5, index)
    drawn = random.Random(seed).random() + np.random.RandomState(seed % 2**32).random()
    return drawn + torch.rand((), generator=torch.Generator().manual_seed(seed)).item()


@pytest.mark.parametrize("collate_fn", [None, with_a_draw])
@pytest.mark.parametrize("load", [without_draw, draw_for_some])
def test_generators_of_training_are_left_as_they_are_found(load: Load, collate_fn: Any) -> None:
    random.seed(1)
    random.gauss(0.0, 1.0)
    np.random.seed(1)
    np.random.randn()
    torch.manual_seed(1)
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    rows = Rows(load)
    for _ in range(2):
        epoch(rows, **({} if collate_fn is None else {"collate_fn": collate_fn}))
    after: Any = np.random.get_state()
    assert random.getstate() == before[0]
    assert [*map(str, after[2:])] == [*map(str, before[1][2:])]
    assert (after[1] == before[1][1]).all()
    assert torch.equal(torch.get_rng_state(), before[2])


DRAWS: list[Callable[[], object]] = [
    np.random.random,
    np.random.randn,  # the second number of a pair is no draw from the generator
    np.random.randn,
    lambda: np.random.randint(2),
    lambda: np.random.bytes(1),
    lambda: np.random.shuffle([1, 2]),
    lambda: np.random.seed(7),
    lambda: np.random.random(1000),
]


def test_numpy_state_follows_every_draw() -> None:
    np.random.seed(3)
    state = NumpyState()
    for draw in DRAWS:
        for _ in range(2):
            name, keys, *rest = np.random.get_state()
            found, found_keys, *found_rest = state.get()
            assert (found, found_keys, found_rest) == (name, list(keys), rest)
            draw()


def test_numpy_is_asked_for_its_state_only_when_that_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    np.random.seed(3)
    state = NumpyState()
    state.get()
    asked: list[str] = []
    get_state = np.random.get_state
    monkeypatch.setattr(np.random, "get_state", lambda: asked.append("") or get_state())
    state.get()
    assert asked == []
    np.random.random()
    state.get()
    assert asked == [""]


@pytest.mark.parametrize("workers", [0, 1])
def test_seed_that_a_dataset_reads_without_a_draw_is_that_of_the_datapoint(workers: int) -> None:
    def read(index: int) -> float:
        state: Any = np.random.get_state()
        return float(torch.initial_seed() % 1000 + int(state[1][0]) % 1000 / 1000)

    seeds = [datapoint_seed(5, index) for index in range(COUNT)]
    assert epoch(Rows(read), workers) == [seed % 1000 + seed % 2**32 % 1000 / 1000 for seed in seeds]


def test_numpy_state_is_put_back_after_every_draw() -> None:
    np.random.seed(3)
    state = NumpyState()
    for waiting in (False, True):
        if waiting:
            np.random.randn()
        for draw in DRAWS:
            before, expected = state.get(), str(np.random.get_state())
            draw()
            np.random.randn()
            state.put_back(before)
            assert str(np.random.get_state()) == expected


@pytest.mark.parametrize("load", [without_draw, draw_for_some])
def test_datapoints_are_the_same_where_pythons_state_is_not_found(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = epoch(Rows(load))
    monkeypatch.setattr(python_state, "_is_where_expected", lambda: False)
    rows = Rows(load)
    assert epoch(rows) == expected
    assert rows.read == list(range(COUNT))


def test_draw_before_another_datapoint_is_loaded_is_seen() -> None:
    generators = GlobalGenerators()

    def load() -> float:
        drawn = random.random()
        generators.load(1004, lambda: None)
        return drawn

    assert generators.load(4, load) == random.Random(4).random()


def test_numpys_generator_may_be_of_another_kind() -> None:
    former = np.random.get_bit_generator()  # type: ignore[attr-defined]  # not in NumPy 2.4's stub
    try:
        np.random.set_bit_generator(np.random.PCG64(1))  # type: ignore[attr-defined]
        before = repr(np.random.get_state(legacy=False))
        found = epoch(Rows(lambda _: np.random.random()))
        assert found == epoch(Rows(lambda _: np.random.random()))
        assert len(set(found)) == COUNT
        assert repr(np.random.get_state(legacy=False)) == before
    finally:
        np.random.set_bit_generator(former)  # type: ignore[attr-defined]


def test_error_of_a_datapoint_leaves_the_batch_as_it_was() -> None:
    generators = GlobalGenerators()

    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        generators.batch(None, lambda: generators.load(1, fail))
    state = random.getstate()
    drawn = generators.batch(None, lambda: generators.load(1, random.random))
    assert drawn == random.Random(1).random()
    assert random.getstate() == state
