"""Scores from confusion matrices: torchmetrics is the oracle, with 0 where ours are undefined."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_f1_score,
    multiclass_jaccard_index,
    multiclass_precision,
    multiclass_recall,
)

from pylon.metrics.functional import confusion_matrices, score_names, segmentation_scores

ORACLES: dict[str, Callable[..., torch.Tensor]] = {
    "iou": multiclass_jaccard_index,
    "precision": multiclass_precision,
    "recall": multiclass_recall,
    "f1": multiclass_f1_score,
}


def scores_of(prediction: torch.Tensor, target: torch.Tensor, num_classes: int) -> dict[str, float]:
    confusion = confusion_matrices(prediction, target, num_classes, ignore_index=255).sum(dim=0)
    names = [str(k) for k in range(num_classes)]
    scores = segmentation_scores(confusion.unsqueeze(0), names)
    assert list(scores) == score_names(names)
    return {name: values.item() for name, values in scores.items()}


def assert_as_torchmetrics(prediction: torch.Tensor, target: torch.Tensor, num_classes: int) -> None:
    scores = scores_of(prediction, target, num_classes)
    defined = {name: 0.0 if math.isnan(value) else value for name, value in scores.items()}
    arguments = (prediction, target, num_classes)
    accuracy = multiclass_accuracy(*arguments, average="micro", ignore_index=255)
    assert defined["accuracy"] == pytest.approx(accuracy.item(), abs=1e-6)
    for score, oracle in ORACLES.items():
        by_class = oracle(*arguments, average="none", ignore_index=255).tolist()
        assert [defined[f"{score}_{k}"] for k in range(num_classes)] == pytest.approx(by_class, abs=1e-6)
        # Without any pixel, torchmetrics' mean IoU is NaN and its other means are 0.
        mean = oracle(*arguments, average="macro", ignore_index=255).nan_to_num(0.0).item()
        assert defined[f"mean_{score}"] == pytest.approx(mean, abs=1e-6), score


@settings(max_examples=60)
@given(
    num_classes=st.integers(3, 5),
    predicted=st.sets(st.integers(0, 2), min_size=1),
    labelled=st.sets(st.sampled_from([0, 1, 2, 255]), min_size=1),
    seed=st.integers(0, 2**31),
)
def test_scores_are_those_of_torchmetrics_whatever_classes_are_absent(
    num_classes: int, predicted: set[int], labelled: set[int], seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)

    def draw(values: set[int]) -> torch.Tensor:
        choice = torch.randint(len(values), (2, 6, 5), generator=generator)
        return torch.tensor(sorted(values))[choice]

    assert_as_torchmetrics(draw(predicted), draw(labelled), num_classes)


@pytest.mark.parametrize("label", [0, 1, 255])
@pytest.mark.parametrize("predicted", [0, 1])
def test_images_of_a_single_class_score_as_torchmetrics_says(label: int, predicted: int) -> None:
    assert_as_torchmetrics(torch.full((1, 4, 4), predicted), torch.full((1, 4, 4), label), num_classes=2)


def test_absent_class_is_undefined_and_left_out_of_the_mean() -> None:
    prediction = torch.tensor([[[0, 0, 1, 1]]])
    target = torch.tensor([[[0, 1, 1, 1]]])
    scores = scores_of(prediction, target, num_classes=3)
    assert all(math.isnan(scores[f"{score}_2"]) for score in ORACLES)
    assert scores["mean_iou"] == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_present_class_that_is_never_predicted_scores_zero_and_counts_in_the_mean() -> None:
    scores = scores_of(torch.tensor([[[0, 0]]]), torch.tensor([[[0, 1]]]), num_classes=2)
    assert (scores["precision_1"], scores["recall_1"], scores["f1_1"], scores["iou_1"]) == (0, 0, 0, 0)
    assert scores["mean_precision"] == pytest.approx(0.25)


def test_everything_ignored_leaves_every_score_undefined() -> None:
    scores = scores_of(torch.zeros(1, 3, 3, dtype=torch.int64), torch.full((1, 3, 3), 255), num_classes=2)
    assert all(math.isnan(value) for value in scores.values())


def test_many_matrices_score_as_each_alone() -> None:
    confusion = torch.randint(0, 9, (5, 3, 3), generator=torch.Generator().manual_seed(0))
    together = segmentation_scores(confusion, "abc")
    for row in range(5):
        alone = segmentation_scores(confusion[row : row + 1], "abc")
        assert all(torch.equal(together[name][row : row + 1], alone[name]) for name in together)


def test_counts_beyond_single_precision_stay_exact() -> None:
    confusion = torch.tensor([[[2**40 + 1, 0], [0, 1]]])
    scores = segmentation_scores(confusion, "ab")
    assert scores["accuracy"].item() == 1.0
    missed = segmentation_scores(torch.tensor([[[2**40, 0], [1, 0]]]), "ab")["accuracy"].item()
    assert missed == 2**40 / (2**40 + 1) < 1.0


def test_matrix_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, 2, 2\)"):
        segmentation_scores(torch.zeros(2, 2), "ab")
