"""Scores of dense classification, from confusion matrices.

With TP, FP and FN of one class taken from the matrix:

    IoU = TP / (TP + FP + FN)         precision = TP / (TP + FP)
    F1  = 2 TP / (2 TP + FP + FN)     recall    = TP / (TP + FN)

A class is *present* when it occurs in the labels or in the predictions (TP + FP + FN > 0). Of an
absent class every score is undefined: NaN here. Of a present class every score is defined: a
precision without predictions, or a recall without labels, is 0. The mean of a score goes over the
present classes. torchmetrics averages in the same way ('macro'), and scores an absent class 0.
"""

from collections.abc import Sequence

import torch

CLASS_SCORES = ("iou", "precision", "recall", "f1")


def score_names(class_names: Sequence[str]) -> list[str]:
    """Names of all scores that `segmentation_scores` gives for classes of these names."""
    return [
        "accuracy",
        *(f"mean_{score}" for score in CLASS_SCORES),
        *(f"{score}_{name}" for score in CLASS_SCORES for name in class_names),
    ]


def segmentation_scores(confusion: torch.Tensor, class_names: Sequence[str]) -> dict[str, torch.Tensor]:
    """Every score of each confusion matrix.

    Args:
        confusion: (N, C, C), counts of pixels by true class (row) and predicted class (column);
            integer, or floating point for expected counts.
        class_names: C names, which end the names of the per-class scores.

    Returns:
        By score name, (N,) float64 in 0..1, NaN if undefined: `accuracy` (share of pixels with
        the right class), `mean_<score>`, and `<score>_<class>` for iou, precision, recall and f1.

    Raises:
        ValueError: the shape is another.
    """
    classes = len(class_names)
    if confusion.ndim != 3 or confusion.shape[1:] != (classes, classes):
        raise ValueError(f"confusion: shape {tuple(confusion.shape)}, expected (N, {classes}, {classes}).")
    counts = confusion.to(torch.float64)
    true_positive = counts.diagonal(dim1=1, dim2=2)
    labelled = counts.sum(dim=2)
    predicted = counts.sum(dim=1)
    union = labelled + predicted - true_positive
    by_class = {
        "iou": true_positive / union,
        "precision": _zero_if_present(true_positive / predicted, union),
        "recall": _zero_if_present(true_positive / labelled, union),
        "f1": 2 * true_positive / (labelled + predicted),
    }
    scores = {"accuracy": true_positive.sum(dim=1) / counts.sum(dim=(1, 2))}
    scores |= {f"mean_{score}": by_class[score].nanmean(dim=1) for score in CLASS_SCORES}
    for score in CLASS_SCORES:
        for position, name in enumerate(class_names):
            scores[f"{score}_{name}"] = by_class[score][:, position]
    return scores


def _zero_if_present(values: torch.Tensor, union: torch.Tensor) -> torch.Tensor:
    """0 in place of 0 / 0, but only for classes that are present."""
    return torch.where(values.isnan() & (union > 0), 0.0, values)
