"""Scores: pure functions, metrics that score each datapoint and all together, and which way is better."""

from metrics.base_metric import BaseMetric, Scores, Summary
from metrics.buffer import DatapointBuffer, MetricBufferError
from metrics.directions import Direction, is_better
from metrics.semantic_segmentation import SemanticSegmentationMetric

__all__ = [
    "BaseMetric",
    "DatapointBuffer",
    "Direction",
    "MetricBufferError",
    "Scores",
    "SemanticSegmentationMetric",
    "Summary",
    "is_better",
]
