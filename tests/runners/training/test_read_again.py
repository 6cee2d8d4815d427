"""Datapoints and orders that a resumed run would not get again are named before the first step."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from rich.console import Console

from pylon.runners.errors import TrainingError
from pylon.runners.launch.file import run_file
from pylon.runners.launch.run import Options
from pylon.runners.training.read_again import warn_of_other_batches
from tests.runners.conftest import Toy
from tests.runners.training.test_any_data import configured
from tests.runners.training.test_rehearsal import log

DATASET = """
import random, time
import numpy

class Drawn(Rows):
    def __init__(self, count):
        super().__init__(count)
        self.lazy = None

    def __getitem__(self, index):
        row, label = super().__getitem__(index)
        return row + {drawn}, label

    def made(self):
        if self.lazy is None:
            self.lazy = numpy.random.default_rng()
        return self.lazy

config["train_dataset"] = {{"class": Drawn, "args": {{"count": 10}}}}
"""
SAMPLER = """
import numpy
from torch.utils.data import Sampler

class Order(Sampler):
    def __init__(self, dataset):
        self.indices = list(range(len(dataset)))
        self.lazy = None

    def __len__(self):
        return len(self.indices)

    def __iter__(self):
        {body}

def order(dataset):
    return Order(dataset)

config["train_dataloader"]["args"] |= {{"shuffle": False, "sampler": order}}
"""
STREAM = """
import random, time

class Opened(Stream):
    opened = 0

    def __iter__(self):
        self.opened += 1
        for row, label in super().__iter__():
            yield row + {drawn}, label

config["train_dataset"] = {{"class": Opened, "args": {{"count": 10}}}}
"""
BY_EPOCH = """
class ByEpoch({base}):
    epoch = -1

    def set_epoch(self, epoch):
        self.epoch = epoch

    def {method}(self, *index):
        with open({path!r}, "a") as file:
            file.write(f"{{self.epoch}} ")
        return super().{method}(*index)

config["train_dataset"] = {{"class": ByEpoch, "args": {{"count": 10}}}}
"""
DRAWN = {
    "a generator of its own": ("float(numpy.random.default_rng().normal())", True),
    "the clock": ("time.time() % 1", True),
    "one that is made when it is needed": ("float(self.made().normal())", False),
    "the global ones": ("random.random() + float(numpy.random.normal()) + float(torch.rand(()))", False),
}  # fmt: skip
STREAMED = {
    "a generator of its own": ("random.Random(time.time()).random()", True),
    "how often it was opened": ("self.opened", True),
    "the global ones": ("random.random()", False),
}
ORDERS = {
    "shuffled again": ("import random; random.shuffle(self.indices); return iter(self.indices)", True),
    "a generator of its own": (
        "return iter(numpy.random.default_rng().permutation(self.indices).tolist())", True
    ),
    "one that is made when it is needed": (
        "self.lazy = self.lazy or numpy.random.default_rng(); "
        "return iter(self.lazy.permutation(self.indices).tolist())", False
    ),
    "the global ones": ("return iter(torch.randperm(len(self.indices)).tolist())", False),
}  # fmt: skip


def run_with(toy: Toy, added: str, changes: str = "", kind: str = "tuple") -> None:
    """Run a configuration with some lines more."""
    configured(toy, kind, changes)
    path = toy.folder / "toy_config_file.py"
    path.write_text(path.read_text() + added)
    run_file(path, Options(device="cpu"), Console(file=io.StringIO()))


def logged(toy: Toy, added: str, changes: str = "") -> str:
    """The log of a run with these datapoints or this order."""
    run_with(toy, added, changes)
    return log(toy)


@pytest.mark.parametrize(("drawn", "warns"), DRAWN.values(), ids=list(DRAWN))
def test_datapoints_that_are_others_when_they_are_read_again_are_named(
    toy: Toy, drawn: str, *, warns: bool
) -> None:
    found = logged(toy, DATASET.format(drawn=drawn))
    assert ("train_dataset (Drawn): inputs of the datapoints " in found) == warns
    assert found.count("had other numbers when they were read again") == warns


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("body", "warns"), ORDERS.values(), ids=list(ORDERS))
def test_order_that_is_another_when_it_is_asked_for_again_is_named(
    toy: Toy, body: str, num_workers: int, *, warns: bool
) -> None:
    found = logged(toy, SAMPLER.format(body=body), f"num_workers={num_workers}")
    assert ("train_dataloader: its sampler gave the datapoints" in found) == warns
    assert "had other numbers" not in found


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize(("drawn", "warns"), STREAMED.values(), ids=list(STREAMED))
def test_stream_that_is_another_when_it_is_opened_again_is_named(
    make_toy: Callable[[str], Toy], drawn: str, num_workers: int, *, warns: bool
) -> None:
    toy = make_toy("stream")
    run_with(toy, STREAM.format(drawn=drawn), f"num_workers={num_workers}", kind="stream")
    assert log(toy).count("Opened gave another first batch when it was opened again") == warns


def test_stream_that_can_be_opened_once_is_refused_before_the_first_step(toy: Toy) -> None:
    once = """
class Once(Stream):
    def __init__(self, count):
        super().__init__(count)
        self.rows_left = iter([self.rows[index] for index in range(count)])

    def __iter__(self):
        return self.rows_left

config["train_dataset"] = {"class": Once, "args": {"count": 4}}
"""
    with pytest.raises(TrainingError, match="Once gives nothing when it is opened again, as each epoch"):
        run_with(toy, once, kind="stream")
    assert "step" not in (toy.work_dir / "metrics.jsonl").read_text()


@pytest.mark.parametrize(
    ("kind", "base", "method"), [("tuple", "Rows", "__getitem__"), ("stream", "Stream", "__iter__")]
)
@pytest.mark.parametrize("num_workers", [0, 2])
def test_datasets_that_ask_for_the_epoch_get_its_number(
    toy: Toy, kind: str, base: str, method: str, num_workers: int
) -> None:
    path = toy.folder / "epochs.txt"
    added = BY_EPOCH.format(base=base, method=method, path=str(path))
    run_with(toy, added, f"num_workers={num_workers}", kind=kind)
    seen = path.read_text().split()
    assert set(seen) == {"-1", "0", "1", "2"}, "before the first step it is not known"
    assert list(dict.fromkeys(seen)) == ["-1", "0", "1", "2"]


def test_run_that_goes_on_is_not_asked_again(toy: Toy) -> None:
    added = DATASET.format(drawn="time.time() % 1")
    assert logged(toy, added).count("had other numbers") == 1
    (toy.work_dir / "train.log").unlink()
    assert "had other numbers" not in logged(toy, added, "epochs=4")


class Refusing(torch.Tensor):
    """Has units, and refuses to be compared."""

    @classmethod
    def __torch_function__(cls, func: Any, *others: Any, **more: Any) -> Any:
        if func in {torch.Tensor.__eq__, torch.Tensor.eq}:
            raise ValueError("units differ")
        return super().__torch_function__(func, *others, **more)


def test_tensors_that_cannot_be_compared_end_no_run(caplog: pytest.LogCaptureFixture) -> None:
    for tensor in (
        torch.zeros(2).as_subclass(Refusing),
        torch.zeros(2, device="meta"),
        torch.zeros(2, dtype=torch.uint8).view(torch.bits8),
        torch.eye(2).to_sparse(),
        torch.nested.nested_tensor([torch.ones(1), torch.ones(2)], layout=torch.jagged),
    ):
        batch, again = (
            {"inputs": one, "labels": None, "meta_info": {"idx": [0, 1]}} for one in (tensor, tensor.clone())
        )
        warn_of_other_batches("train_dataset (Rows)", [batch], [again])
    assert caplog.records == []
