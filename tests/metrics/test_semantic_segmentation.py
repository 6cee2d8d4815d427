"""The metric as a runner uses it: batches in, scores and a JSON file out."""

import json
import random
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torchmetrics.functional.classification import multiclass_f1_score, multiclass_jaccard_index

from pylon.metrics import BaseMetric, Direction, MetricBufferError, SemanticSegmentationMetric


def make_data(count: int = 7, side: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(count, 2, side, side, generator=generator)
    target = (torch.rand(count, side, side, generator=generator) < 0.2).long()
    target[torch.rand(count, side, side, generator=generator) < 0.1] = 255
    target[2] = 0
    target[4] = 255
    return logits, target


def change_metric() -> SemanticSegmentationMetric:
    return SemanticSegmentationMetric(num_classes=2, class_names=["unchanged", "changed"])


def filled(order: Sequence[int], batch_size: int) -> SemanticSegmentationMetric:
    metric = change_metric()
    logits, target = make_data()
    for start in range(0, len(order), batch_size):
        idx = list(order[start : start + batch_size])
        metric.update(logits[idx], target[idx], idx)
    return metric


def test_aggregated_scores_count_every_pixel_once_and_are_no_mean_of_scores() -> None:
    logits, target = make_data()
    summary = filled(range(7), batch_size=3).summarize()
    f1 = multiclass_f1_score(logits, target, 2, average="none", ignore_index=255)[1].item()
    assert summary["aggregated"]["f1_changed"] == pytest.approx(f1, abs=1e-6)
    rows = [value for value in summary["per_datapoint"]["f1_changed"] if value is not None]
    assert abs(sum(rows) / len(rows) - f1) > 0.002


def test_each_datapoint_is_scored_on_its_own() -> None:
    logits, target = make_data()
    summary = filled(range(7), batch_size=7).summarize()
    assert summary["per_datapoint"]["idx"] == list(range(7))
    for k in (0, 1, 3, 5, 6):
        iou = multiclass_jaccard_index(
            logits[k : k + 1], target[k : k + 1], 2, average="macro", ignore_index=255
        )
        assert summary["per_datapoint"]["mean_iou"][k] == pytest.approx(iou.item(), abs=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_summary_does_not_depend_on_arrival_order_or_batch_size(batch_size: int, seed: int) -> None:
    order = list(range(7))
    random.Random(seed).shuffle(order)
    assert filled(order, batch_size).summarize() == filled(range(7), batch_size=7).summarize()


def test_summary_of_a_buffer_that_was_got_is_that_of_the_metric_it_came_from() -> None:
    metric = filled(range(7), batch_size=2)
    buffer = metric.get_buffer(expected=7)
    shuffled = dict(sorted(buffer.items(), key=lambda item: -item[0]))
    assert change_metric().summarize(shuffled) == metric.summarize()


def test_file_is_strict_json_with_null_for_the_undefined(tmp_path: Path) -> None:
    path = tmp_path / "epoch_0" / "validation_scores.json"
    summary = filled(range(7), batch_size=3).summarize(output_path=path)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(path.read_text(), parse_constant=refuse) == summary
    assert summary["per_datapoint"]["accuracy"][4] is None, "datapoint 4 is wholly ignored"
    assert list(path.parent.iterdir()) == [path]


def test_file_that_cannot_be_written_leaves_the_former_one(tmp_path: Path) -> None:
    path = tmp_path / "validation_scores.json"
    metric = filled(range(7), batch_size=7)
    metric.summarize(output_path=path)
    before = path.read_bytes()
    with pytest.raises(OSError, match="validation_scores"):
        metric.summarize(output_path=path / "below_a_file.json")
    assert path.read_bytes() == before


def test_undefined_score_is_none_not_nan() -> None:
    metric = change_metric()
    metric.update(torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), 255), [0])
    assert set(metric.summarize()["aggregated"].values()) == {None}
    assert metric.baselines()["all_changed"]["f1_changed"] is None


def test_every_score_has_a_direction_and_every_direction_a_score() -> None:
    metric = filled(range(7), batch_size=7)
    summary = metric.summarize()
    assert set(metric.directions) == set(summary["aggregated"]) == set(summary["per_datapoint"]) - {"idx"}
    assert metric.direction("f1_changed") == "higher"
    assert set(metric.directions) >= {"accuracy", "mean_iou", "mean_f1", "iou_changed", "recall_unchanged"}


def test_unknown_score_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'f1_changed'\?"):
        change_metric().direction("f1_change")


def test_baselines_stand_beside_the_scores_under_the_same_names() -> None:
    metric = filled(range(7), batch_size=7)
    baselines = metric.baselines()
    assert set(baselines) == {"all_unchanged", "all_changed", "random_uniform", "random_prevalence"}
    assert all(set(scores) == set(metric.directions) for scores in baselines.values())
    _, target = make_data()
    labelled = target[target != 255]
    prevalence = labelled.double().mean().item()
    assert baselines["all_unchanged"]["accuracy"] == pytest.approx(1 - prevalence)
    assert baselines["all_unchanged"]["f1_changed"] == 0.0
    assert baselines["random_prevalence"]["f1_changed"] == pytest.approx(prevalence)
    json.dumps(baselines, allow_nan=False)


def test_nan_logits_are_refused_by_datapoint_and_nothing_of_the_batch_is_kept() -> None:
    metric = change_metric()
    logits, target = make_data()
    logits[1, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"NaN in datapoints \[11\]"):
        metric.update(logits[:3], target[:3], [10, 11, 12])
    assert metric.get_buffer() == {}


def test_second_pass_without_reset_is_refused_and_with_reset_counts_anew() -> None:
    metric = filled(range(7), batch_size=7)
    logits, target = make_data()
    with pytest.raises(MetricBufferError, match="reset"):
        metric.update(logits, target, list(range(7)))
    first = metric.summarize()
    metric.reset()
    metric.update(logits, target, list(range(7)))
    assert metric.summarize() == first


def test_lost_batch_is_noticed_at_the_summary() -> None:
    with pytest.raises(MetricBufferError, match="2, 3 missing"):
        filled([0, 1, 4, 5, 6], batch_size=2).summarize()


def test_nothing_to_summarise_is_an_error() -> None:
    with pytest.raises(ValueError, match="no datapoint"):
        change_metric().summarize()


def test_wrong_number_of_indices_or_channels_is_refused() -> None:
    logits, target = make_data()
    with pytest.raises(ValueError, match=r"_statistics gives shape \(3, 2, 2\) for 2 datapoints"):
        change_metric().update(logits[:3], target[:3], [0, 1])
    with pytest.raises(ValueError, match="3 channels, expected one per class: 2"):
        change_metric().update(torch.zeros(1, 3, 12, 12), target[:1], [0])


def test_what_is_kept_holds_no_graph_and_no_image() -> None:
    metric = change_metric()
    logits, target = make_data()
    metric.update(logits.requires_grad_(), target, list(range(7)))
    kept = metric.get_buffer()
    assert all(not entry.requires_grad and entry.shape == (2, 2) for entry in kept.values())


def test_threads_fill_one_metric_as_one_thread_does() -> None:
    metric = change_metric()
    logits, target = make_data()
    threads = [
        threading.Thread(target=metric.update, args=(logits[k : k + 1], target[k : k + 1], [k]))
        for k in range(7)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert metric.summarize() == filled(range(7), batch_size=7).summarize()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 1}, "num_classes: 1"),
        ({"num_classes": 2, "class_names": ["a"]}, "expected 2 different names"),
        ({"num_classes": 2, "class_names": ["a", "a"]}, "expected 2 different names"),
        ({"num_classes": 2, "class_names": ["a", ""]}, "none empty"),
        ({"num_classes": 2, "ignore_index": 1}, "ignore_index: 1 is one of the 2 classes"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SemanticSegmentationMetric(**arguments)  # type: ignore[arg-type]


class MeanSquaredError(BaseMetric):
    """A metric of another task: what a subclass has to say, and nothing else."""

    @property
    def directions(self) -> Mapping[str, Direction]:
        return {"mse": "lower"}

    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        squared = (outputs - target).square().flatten(start_dim=1).double()
        return torch.stack(
            [squared.sum(dim=1), torch.full((len(outputs),), float(squared.shape[1])).double()], dim=1
        )

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"mse": statistics[:, 0] / statistics[:, 1]}


def test_metric_of_another_task_needs_three_methods_only() -> None:
    metric = MeanSquaredError()
    outputs, target = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    metric.update(outputs[2:], target[2:], [2, 3])
    metric.update(outputs[:2], target[:2], [0, 1])
    summary = metric.summarize()
    assert summary["aggregated"]["mse"] == pytest.approx((outputs - target).square().mean().item())
    assert len(summary["per_datapoint"]["mse"]) == 4
    assert metric.baselines() == {}


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(torch.float16, [2.0**14] * 9), (torch.bfloat16, [1.0] * 257), (torch.float32, [2.0**24, 1.0])],
)
def test_sums_of_a_metrics_floats_are_exact(dtype: torch.dtype, values: list[float]) -> None:
    class Sum(BaseMetric):
        directions: ClassVar[Mapping[str, Direction]] = {"sum": "higher"}

        def _statistics(
            self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]
        ) -> torch.Tensor:
            return outputs

        def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"sum": statistics}

    metric, outputs = Sum(), torch.tensor(values, dtype=dtype)
    metric.update(outputs, outputs, range(len(values)))
    assert metric.summarize()["aggregated"]["sum"] == sum(values)
