"""Metrics of torchmetrics as the metric of a run: torchmetrics itself is the oracle."""

import pickle
from typing import Any

import pytest
import torch
from torchmetrics import MeanSquaredError, MetricCollection, PearsonCorrCoef, R2Score
from torchmetrics.classification import (
    BinaryAUROC,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
)
from torchmetrics.wrappers import MinMaxMetric

from pylon.metrics import MetricBufferError, TorchMetrics

LOGITS = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(11) % 3
ROWS = torch.randn(11, 1, generator=torch.Generator().manual_seed(1))
TARGETS = ROWS + torch.randn(11, 1, generator=torch.Generator().manual_seed(2))
SCORES, POSITIVE = torch.sigmoid(ROWS[:, 0]), (TARGETS[:, 0] > 0).long()


def filled(metric: TorchMetrics, outputs: torch.Tensor, target: torch.Tensor, batches: Any) -> TorchMetrics:
    metric.reset()
    with torch.inference_mode():
        for batch in batches:
            metric.update(outputs[batch], target[batch], batch)
    return metric


BATCHES = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_scores_are_those_of_torchmetrics_for_all_and_for_each() -> None:
    metric = TorchMetrics(MulticlassAccuracy(num_classes=3, average="micro"))
    summary = filled(metric, LOGITS, LABELS, BATCHES).summarize()
    right = (LOGITS.argmax(1) == LABELS).float()
    assert summary["aggregated"] == {"MulticlassAccuracy": pytest.approx(float(right.mean()))}
    assert summary["per_datapoint"] == {"idx": list(range(11)), "MulticlassAccuracy": right.tolist()}
    assert metric.directions == {"MulticlassAccuracy": "higher"}
    again = filled(metric, LOGITS[:4], LABELS[:4], BATCHES[:1]).summarize()
    assert again["aggregated"] == {"MulticlassAccuracy": pytest.approx(float(right[:4].mean()))}


def test_collection_gives_each_score_under_its_name() -> None:
    collection = MetricCollection(
        {"accuracy": MulticlassAccuracy(3), "f1": MulticlassF1Score(3, average=None)}, prefix="val_"
    )
    metric = TorchMetrics(collection, directions={"val_accuracy": "higher"})
    scores = filled(metric, LOGITS, LABELS, BATCHES).summarize()["aggregated"]
    assert list(scores) == ["val_accuracy", "val_f1_0", "val_f1_1", "val_f1_2"]
    own = MulticlassF1Score(3, average=None)
    own.update(LOGITS, LABELS)
    assert [scores[f"val_f1_{number}"] for number in range(3)] == pytest.approx(own.compute().tolist())


def test_metric_that_needs_several_datapoints_has_no_score_of_one() -> None:
    summary = filled(TorchMetrics(R2Score()), ROWS[:, 0], TARGETS[:, 0], BATCHES).summarize()
    assert summary["per_datapoint"]["R2Score"] == [None] * 11
    assert summary["aggregated"]["R2Score"] is not None
    summary = filled(TorchMetrics(BinaryAUROC()), SCORES, POSITIVE, BATCHES).summarize()
    assert summary["per_datapoint"]["BinaryAUROC"] == [None] * 11


@pytest.mark.parametrize(
    ("make", "outputs", "target"),
    [
        (lambda: MulticlassAccuracy(num_classes=3), LOGITS, LABELS),
        (MeanSquaredError, ROWS, TARGETS),
        (BinaryAUROC, SCORES, POSITIVE),
        (PearsonCorrCoef, ROWS[:, 0], TARGETS[:, 0]),
    ],
)
@pytest.mark.parametrize("ranks", [2, 4])
def test_parts_of_several_processes_make_the_scores_of_one(
    make: Any, outputs: torch.Tensor, target: torch.Tensor, ranks: int
) -> None:
    """With four, the last has no batch."""
    alone = filled(TorchMetrics(make()), outputs, target, BATCHES).summarize()
    metrics = [filled(TorchMetrics(make()), outputs, target, BATCHES[rank::ranks]) for rank in range(ranks)]
    parts = pickle.loads(pickle.dumps([metric.part() for metric in metrics]))
    for metric in metrics:
        metric.merge(parts)
        together = metric.summarize()
        assert together["aggregated"] == pytest.approx(alone["aggregated"], rel=1e-5)
        assert together["per_datapoint"] == alone["per_datapoint"]
        # The next pass is one of its own again.
        first = filled(metric, outputs, target, [list(range(11))]).summarize()["aggregated"]
        assert first == pytest.approx(alone["aggregated"], rel=1e-5)


def test_datapoint_that_is_scored_twice_is_refused() -> None:
    with pytest.raises(MetricBufferError, match="added twice"):
        filled(TorchMetrics(MeanSquaredError()), ROWS, TARGETS, [[0, 1], [1, 2]])


def test_score_of_several_values_is_refused_with_what_to_do() -> None:
    metric = TorchMetrics(MulticlassF1Score(3, average=None))
    with pytest.raises(ValueError, match=r"MulticlassF1Score gives \['MulticlassF1Score_0'.*average='macro'"):
        filled(metric, LOGITS, LABELS, BATCHES).summarize()


def test_metric_without_a_direction_has_none_until_it_is_given() -> None:
    assert TorchMetrics(MulticlassConfusionMatrix(3)).directions == {}
    given = TorchMetrics(MulticlassConfusionMatrix(3), directions={"MulticlassConfusionMatrix_0_0": "higher"})
    summary = filled(given, LOGITS, LABELS, BATCHES).summarize()
    assert summary["aggregated"]["MulticlassConfusionMatrix_0_0"] is not None


def test_metric_that_holds_others_is_refused_by_several_processes() -> None:
    metric = filled(
        TorchMetrics(MinMaxMetric(MeanSquaredError()), directions={}, per_datapoint=False),
        ROWS, TARGETS, BATCHES,
    )  # fmt: skip
    with pytest.raises(ValueError, match="MinMaxMetric holds other metrics"):
        metric.part()
