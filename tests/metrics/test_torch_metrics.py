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
from torchmetrics.wrappers import (
    BootStrapper,
    ClasswiseWrapper,
    MetricInputTransformer,
    MetricTracker,
    MinMaxMetric,
    MultioutputWrapper,
    MultitaskWrapper,
    Running,
)

from pylon.metrics import MetricBufferError, TorchMetrics

LOGITS = torch.randn(11, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(11) % 3
ROWS = torch.randn(11, 1, generator=torch.Generator().manual_seed(1))
TARGETS = ROWS + torch.randn(11, 1, generator=torch.Generator().manual_seed(2))
SCORES, POSITIVE = torch.sigmoid(ROWS[:, 0]), (TARGETS[:, 0] > 0).long()


PAIRS = torch.randn(11, 2, generator=torch.Generator().manual_seed(3))


def scored_as_it_is(metric: Any) -> TorchMetrics:
    return TorchMetrics(metric, directions={})


class Both(MulticlassAccuracy):
    """A user's metric with states of its own and another metric inside it."""

    def __init__(self) -> None:
        super().__init__(num_classes=3, average=None)
        self.inner = MulticlassF1Score(3)

    def update(self, preds: Any, target: Any) -> None:
        super().update(preds, target)
        self.inner.update(preds, target)

    def compute(self) -> Any:
        return super().compute() + self.inner.compute()

    def reset(self) -> None:
        super().reset()
        self.inner.reset()


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
        (lambda: scored_as_it_is(ClasswiseWrapper(MulticlassAccuracy(3, average=None))), LOGITS, LABELS),
        (lambda: scored_as_it_is(MultioutputWrapper(R2Score(), num_outputs=2)), PAIRS, PAIRS.flip(0)),
        (lambda: scored_as_it_is(MetricInputTransformer(MeanSquaredError())), ROWS, TARGETS),
        (lambda: scored_as_it_is(MeanSquaredError() + PearsonCorrCoef()), ROWS[:, 0], TARGETS[:, 0]),
        (lambda: scored_as_it_is(ClasswiseWrapper(Both())), LOGITS, LABELS),
    ],
)
@pytest.mark.parametrize("ranks", [2, 4])
def test_parts_of_several_processes_make_the_scores_of_one(
    make: Any, outputs: torch.Tensor, target: torch.Tensor, ranks: int
) -> None:
    """With four, the last has no batch."""

    def made() -> TorchMetrics:
        metric = make()
        return metric if isinstance(metric, TorchMetrics) else TorchMetrics(metric)

    alone = filled(made(), outputs, target, BATCHES).summarize()
    metrics = [filled(made(), outputs, target, BATCHES[rank::ranks]) for rank in range(ranks)]
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


@pytest.mark.parametrize(
    "make",
    [
        lambda: MinMaxMetric(MeanSquaredError()),
        lambda: Running(MeanSquaredError(), window=2),
        lambda: MetricTracker(MeanSquaredError()),
        lambda: MetricCollection({"error": Running(MeanSquaredError())}),
    ],
)
def test_metric_that_keeps_more_than_a_pass_is_refused_when_it_is_built(make: Any) -> None:
    with pytest.raises(ValueError, match=r"metric: \w+, expected the metric inside it"):
        TorchMetrics(make())


def test_resamples_of_several_processes_are_those_of_all_datapoints() -> None:
    def made() -> TorchMetrics:
        torch.manual_seed(0)
        return scored_as_it_is(BootStrapper(MeanSquaredError(), num_bootstraps=200))

    metrics = [filled(made(), ROWS, TARGETS, BATCHES[rank::2]) for rank in range(2)]
    parts = [metric.part() for metric in metrics]
    metrics[0].merge(parts)
    scores = metrics[0].summarize()["aggregated"]
    assert scores["BootStrapper_mean"] == pytest.approx(float((ROWS - TARGETS).square().mean()), rel=0.2)


def test_metrics_of_several_tasks_are_one_metric_of_dicts() -> None:
    made = MultitaskWrapper({"rows": MeanSquaredError(), "again": MeanSquaredError()})
    metric = TorchMetrics(made, directions={"MultitaskWrapper_rows": "lower"})
    given = {"rows": ROWS, "again": ROWS + 1}, {"rows": TARGETS, "again": TARGETS + 1}
    metric.update(*given, list(range(11)))
    parts = [metric.part()]
    metric.merge(parts)
    scores = metric.summarize()["aggregated"]
    expected = float((ROWS - TARGETS).square().mean())
    assert scores == {
        "MultitaskWrapper_rows": pytest.approx(expected), "MultitaskWrapper_again": pytest.approx(expected)
    }  # fmt: skip
