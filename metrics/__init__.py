"""Scores: pure functions, metrics that score each datapoint and all together, and which way is better."""

from pylon import require_namespace as _require_namespace
from pylon.metrics.base_metric import BaseMetric, Scores, Summary
from pylon.metrics.buffer import DatapointBuffer, MetricBufferError
from pylon.metrics.directions import Direction, is_better
from pylon.metrics.semantic_segmentation import SemanticSegmentationMetric
from pylon.metrics.torch_metrics import TorchMetrics, as_metric, is_of_torchmetrics

__all__ = [
    "BaseMetric",
    "DatapointBuffer",
    "Direction",
    "MetricBufferError",
    "Scores",
    "SemanticSegmentationMetric",
    "Summary",
    "TorchMetrics",
    "as_metric",
    "is_better",
    "is_of_torchmetrics",
]

_require_namespace(__name__)
