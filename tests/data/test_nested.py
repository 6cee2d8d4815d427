"""Datapoints of any structure become batches, or are refused by name."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from pylon.data import DatasetContractError
from pylon.data.batch import BatchCollate, Item, as_batch
from pylon.data.collate import collate, stack
from pylon.data.nested import map_tensors, tensors_of


class Point(NamedTuple):
    x: Any
    y: Any


@dataclass(frozen=True)
class Sample:
    audio: Any
    text: str


def together(*values: Any) -> Any:
    return stack(values, "inputs", list(range(10, 10 + len(values))))


def test_structure_stays_and_each_leaf_gets_a_row_per_datapoint() -> None:
    def one(number: int) -> Any:
        return {
            "point": Point(torch.full((2,), float(number)), np.full(3, number, np.int16)),
            "pair": (number, [number + 0.5, f"text {number}"]),
            "sample": Sample(np.float64(number), "a"),
            "flag": bool(number),
            "nothing": None,
        }

    batch = together(one(0), one(1))
    assert isinstance(batch["point"], Point)
    assert torch.equal(batch["point"].x, torch.tensor([[0.0, 0.0], [1.0, 1.0]]))
    assert batch["point"].y.dtype == torch.int16
    numbers, (halves, texts) = batch["pair"]
    assert torch.equal(numbers, torch.tensor([0, 1]))
    assert torch.equal(halves, torch.tensor([0.5, 1.5]))
    assert texts == ["text 0", "text 1"]
    assert isinstance(batch["sample"], Sample)
    assert batch["sample"].audio.dtype == torch.float32, "a number has the type that torch computes with"
    assert batch["flag"].dtype == torch.bool
    assert batch["nothing"] is None


def test_numbers_and_arrays_have_the_values_that_they_had() -> None:
    assert together(1, 2.5).tolist() == [1.0, 2.5]
    swapped = np.array([1, 256], dtype=">i4")
    swapped.flags.writeable = False
    assert together(swapped, swapped).tolist() == [[1, 256], [1, 256]]
    assert together(np.array("a"), np.array("bcd")) == ["a", "bcd"]


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        (
            {"x": np.array([1, None], dtype=object)},
            {"x": np.array([1, None], dtype=object)},
            r"inputs\['x'\] of datapoint idx=10 is an array of object.*astype",
        ),
        ({"x": {1, 2}}, {"x": {1}}, r"inputs\['x'\] of datapoint idx=10 is a set, expected tensors"),
        (np.datetime64("2020"), np.datetime64("2021"), "inputs of datapoint idx=10 is a datetime64"),
        ((1, None), (1, 2), r"idx=10 and idx=11 cannot.*inputs\[1\] is None next to a int"),
        (True, 1, "inputs is a bool next to a int"),
        ({"a": 1}, {"b": 1}, r"inputs is a dict with \['a'\] next to a dict with \['b'\]"),
        ([1, 2], [1], "inputs is a list of 2 next to a list of 1"),
        (
            Point(torch.zeros(2), 1),
            Point(torch.zeros(3), 1),
            r"inputs\.x is \(2,\) torch.float32 next to \(3,\) torch.float32.*collate_fn",
        ),
        (np.zeros(2), np.zeros(2, np.float32), "an array .* float64 next to an array .* float32"),
        (torch.zeros(1), 0.0, "next to a float"),
    ],
)
def test_what_cannot_be_one_batch_is_refused_with_place_and_datapoint(
    first: Any, second: Any, told: str
) -> None:
    with pytest.raises(DatasetContractError, match=told):
        together(first, second)


@pytest.mark.parametrize(
    ("datapoint", "inputs", "labels"),
    [
        ((1, 2), [1, 1], [2, 2]),
        ([1, 2], [1, 1], [2, 2]),
        ((1,), [1, 1], None),
        (1, [1, 1], None),
        ({"inputs": 1, "labels": 2}, [1, 1], [2, 2]),
        ({"inputs": {"a": 1}}, {"a": [1, 1]}, None),
        ({"a": 1, "b": 3, "labels": 2}, {"a": [1, 1], "b": [3, 3]}, [2, 2]),
        (Point(1, 2), Point([1, 1], [2, 2]), None),
        ("a b", ["a b", "a b"], None),
    ],
)
def test_datapoint_of_each_form_is_divided_into_inputs_and_labels(
    datapoint: Any, inputs: Any, labels: Any
) -> None:
    batch = BatchCollate(collate)([Item(3, datapoint), Item(5, datapoint)])
    assert lists(batch["inputs"]) == inputs
    assert lists(batch["labels"]) == labels
    assert batch["meta_info"]["idx"] == [3, 5]


def lists(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Point):
        return Point(*map(lists, value))
    return {key: lists(one) for key, one in value.items()} if isinstance(value, dict) else value


def test_meta_info_of_a_dict_is_kept_as_it_is() -> None:
    batch = BatchCollate(collate)([Item(3, {"inputs": 1, "meta_info": {"name": "x", "idx": 0}})])
    assert batch["meta_info"] == {"name": ["x"], "idx": [3]}


def test_own_collate_function_gets_what_the_dataset_gives() -> None:
    def padded(datapoints: Any) -> Any:
        rows = [row for row, _ in datapoints]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), [label for _, label in datapoints]

    batch = BatchCollate(padded)([Item(1, (torch.ones(2), "a")), Item(0, (torch.ones(3), "b"))])
    assert batch["inputs"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert (batch["labels"], batch["meta_info"]) == (["a", "b"], {"idx": [1, 0]})


@pytest.mark.parametrize(
    ("batch", "told"),
    [
        ((1, 2, 3), r"^here is a tuple of 3, expected two: \(inputs, labels\)"),
        ({"inputs": 1, "mask": 2}, r"^here is a dict with 'inputs' and \['mask'\], expected"),
    ],
)
def test_batch_of_no_known_form_is_refused(batch: Any, told: str) -> None:
    with pytest.raises(DatasetContractError, match=told):
        as_batch(batch, [0], "here is")


def test_tensors_of_a_nested_value_are_mapped_and_named() -> None:
    value = {"a": (torch.ones(1), "text"), "b": Sample(torch.zeros(2), "x")}
    assert [place for place, _ in tensors_of(value, "inputs")] == ["inputs['a'][0]", "inputs['b'].audio"]
    doubled = map_tensors(value, lambda tensor: tensor + 1)
    assert doubled["a"][0].item() == 2
    assert doubled["a"][1] == "text"
    assert doubled["b"].audio.tolist() == [1, 1]
    assert value["b"].audio.tolist() == [0, 0], "the given one stays as it is"
