"""Accuracy, IoU, precision, recall and F1 of dense classification, change detection included."""

from collections.abc import Mapping, Sequence

import torch

from pylon.metrics.base_metric import BaseMetric, Scores
from pylon.metrics.directions import Direction
from pylon.metrics.functional import (
    baseline_confusions,
    confusion_matrices,
    predicted_classes,
    score_names,
    segmentation_scores,
)


class SemanticSegmentationMetric(BaseMetric):
    """Scores from confusion matrices; each labelled pixel counts once.

    Of a datapoint its confusion matrix is kept: C * C counts, whatever the image size. Scores are
    named `accuracy`, `mean_iou`, `mean_precision`, `mean_recall`, `mean_f1`, and `iou_<class>`,
    `precision_<class>`, `recall_<class>`, `f1_<class>`; see `metrics.functional.segmentation` for the
    formulas and for what is undefined. For all of them higher is better.

    Args:
        num_classes: C, at least 2.
        class_names: C different names for the scores; None: '0', '1', ...
        ignore_index: pixels with this label count nowhere; it lies outside 0..C-1. None: every
            pixel counts.
    """

    def __init__(
        self, num_classes: int, class_names: Sequence[str] | None = None, ignore_index: int | None = 255
    ) -> None:
        super().__init__()
        names = [str(k) for k in range(num_classes)] if class_names is None else list(class_names)
        if num_classes < 2:
            raise ValueError(f"num_classes: {num_classes}, expected 2 or more.")
        if len(names) != num_classes or len(set(names)) != num_classes or not all(names):
            raise ValueError(f"class_names: {names}, expected {num_classes} different names, none empty.")
        if ignore_index is not None and 0 <= ignore_index < num_classes:
            raise ValueError(
                f"ignore_index: {ignore_index} is one of the {num_classes} classes; "
                f"expected a label outside 0..{num_classes - 1}, or None."
            )
        self.num_classes = num_classes
        self.class_names = tuple(names)
        self.ignore_index = ignore_index
        self._directions: dict[str, Direction] = dict.fromkeys(score_names(names), "higher")

    @property
    def directions(self) -> Mapping[str, Direction]:
        """See BaseMetric."""
        return self._directions

    def baselines(self, buffer: Mapping[int, torch.Tensor] | None = None) -> dict[str, Scores]:
        """See BaseMetric: `all_<class>` for each class, `random_uniform` and `random_prevalence`."""
        confusion = torch.stack(list(self._ordered(buffer).values())).sum(dim=0)
        return {
            name: self._scores_of_one(matrix)
            for name, matrix in baseline_confusions(confusion, self.class_names).items()
        }

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        """The (B, C, C) confusion matrices of logits (B, C, H, W) and labels (B, H, W) int64."""
        prediction = predicted_classes(outputs, idx)
        if outputs.shape[1] != self.num_classes:
            raise ValueError(
                f"logits: {outputs.shape[1]} channels, expected one per class: {self.num_classes}."
            )
        return confusion_matrices(prediction, target, self.num_classes, self.ignore_index, idx)

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        """See BaseMetric."""
        return segmentation_scores(statistics, self.class_names)
