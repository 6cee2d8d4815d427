"""Pure tensor functions behind the metrics: counting, scoring, baselines."""

from pylon.metrics.functional.baselines import baseline_confusions, constant_prediction, random_prediction
from pylon.metrics.functional.confusion import confusion_matrices, predicted_classes
from pylon.metrics.functional.segmentation import score_names, segmentation_scores

__all__ = [
    "baseline_confusions",
    "confusion_matrices",
    "constant_prediction",
    "predicted_classes",
    "random_prediction",
    "score_names",
    "segmentation_scores",
]
