"""Pure tensor functions behind the metrics: counting, scoring, baselines."""

from metrics.functional.baselines import baseline_confusions, constant_prediction, random_prediction
from metrics.functional.confusion import confusion_matrices, predicted_classes
from metrics.functional.segmentation import score_names, segmentation_scores

__all__ = [
    "baseline_confusions",
    "confusion_matrices",
    "constant_prediction",
    "predicted_classes",
    "random_prediction",
    "score_names",
    "segmentation_scores",
]
