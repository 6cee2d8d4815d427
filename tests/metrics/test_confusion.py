"""Counting pixels: against torchmetrics, and what is refused."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import multiclass_confusion_matrix

from pylon.metrics.functional import confusion_matrices, predicted_classes


@settings(max_examples=40)
@given(
    num_classes=st.integers(2, 5),
    batch_size=st.integers(1, 4),
    sides=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    ignored_share=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 2**31),
)
def test_each_image_is_counted_as_torchmetrics_counts_it(
    num_classes: int, batch_size: int, sides: tuple[int, int], ignored_share: float, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch_size, num_classes, *sides, generator=generator)
    target = torch.randint(num_classes, (batch_size, *sides), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored_share] = 255
    counts = confusion_matrices(predicted_classes(logits), target, num_classes, ignore_index=255)
    for image in range(batch_size):
        expected = multiclass_confusion_matrix(
            logits[image : image + 1], target[image : image + 1], num_classes, ignore_index=255
        )
        assert torch.equal(counts[image], expected)


def test_rows_are_labels_and_columns_predictions() -> None:
    counts = confusion_matrices(torch.tensor([[[1, 1, 0]]]), torch.tensor([[[0, 1, 0]]]), num_classes=2)
    assert counts.tolist() == [[[1, 1], [0, 1]]]


def test_nan_logit_is_refused_and_the_datapoint_named() -> None:
    logits = torch.zeros(3, 2, 4, 4)
    logits[1, 0, 2, 2] = float("nan")
    with pytest.raises(ValueError, match=r"NaN in datapoints \[41\]"):
        predicted_classes(logits, idx=[40, 41, 42])
    with pytest.raises(ValueError, match=r"NaN in datapoints \[1\]"):
        predicted_classes(logits)


def test_infinite_logit_is_a_prediction() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 1, 0, 0] = float("inf")
    logits[0, 0, 0, 1] = -float("inf")
    assert predicted_classes(logits).tolist() == [[[1, 1]]]


def test_first_of_equal_logits_is_the_prediction() -> None:
    assert not predicted_classes(torch.zeros(2, 3, 40, 40)).any()


@pytest.mark.parametrize("value", [-1, 2, 254])
def test_label_outside_the_classes_is_refused_and_the_datapoint_named(value: int) -> None:
    target = torch.zeros(2, 3, 3, dtype=torch.int64)
    target[1, 0, 0] = value
    with pytest.raises(
        ValueError, match=rf"target: values \[{value}\] in datapoints \[8\], expected 0\.\.1 or 255"
    ):
        confusion_matrices(torch.zeros_like(target), target, 2, ignore_index=255, idx=[7, 8])


def test_without_ignore_index_255_is_no_label() -> None:
    target = torch.full((1, 2, 2), 255)
    with pytest.raises(ValueError, match=r"values \[255\]"):
        confusion_matrices(torch.zeros_like(target), target, 2)


def test_prediction_outside_the_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prediction: values \[3\]"):
        confusion_matrices(torch.full((1, 2, 2), 3), torch.zeros(1, 2, 2, dtype=torch.int64), 2)


def test_prediction_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="expected that of the prediction"):
        confusion_matrices(
            torch.zeros(1, 2, 2, dtype=torch.int64), torch.zeros(1, 4, 4, dtype=torch.int64), 2
        )
