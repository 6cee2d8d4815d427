"""A pass over data: every datapoint that it was given is scored, however long it is and in whatever order."""

import json
from typing import Any

import pytest
import torch

from pylon.data import DataLoader
from pylon.metrics import SemanticSegmentationMetric
from pylon.metrics.buffer import MetricBufferError
from pylon.runners.distributed import AgreedStop, World
from pylon.runners.signals import StopFlag
from pylon.runners.training.evaluation import evaluate
from pylon.runners.training.supervised import SupervisedSingleTask
from tests.runners.conftest import Toy
from tests.runners.toy import ToyDataset, ToyModel


def test_short_pass_over_shuffled_validation_data_scores_what_it_was_given(toy: Toy) -> None:
    shuffled = "{'class': DataLoader, 'args': {'batch_size': 1, 'shuffle': True}}"
    outcome = toy.run(f"val_dataloader={shuffled}, test_dataloader={shuffled}", debug=True)
    given = []
    for epoch in range(3):
        scores = json.loads((outcome.directory / f"epoch_{epoch}" / "validation_scores.json").read_text())
        given.append(scores["per_datapoint"]["idx"])
    assert [len(idx) for idx in given] == [3, 3, 3]
    assert all(idx == sorted(set(idx)) for idx in given)
    assert any(idx != [0, 1, 2] for idx in given), "a pass of other datapoints than the first ones"


@pytest.mark.parametrize("options", [{"shuffle": True}, {"shuffle": False}], ids=["shuffled", "in order"])
@pytest.mark.parametrize(("max_batches", "drop_last"), [(None, False), (3, False), (None, True)])
def test_datapoint_that_is_not_scored_is_noticed(
    options: dict[str, Any], max_batches: int | None, drop_last: bool
) -> None:
    class Forgetful(SupervisedSingleTask):
        batches = 0

        def score(self, metric: Any, outputs: Any, batch: Any) -> None:
            self.batches += 1
            if self.batches != self.forgotten:
                super().score(metric, outputs, batch)

    model = ToyModel()
    loader = DataLoader(
        ToyDataset(".", "train"), batch_size=2 + 3 * drop_last, drop_last=drop_last, **options
    )
    metric = SemanticSegmentationMetric(num_classes=2, class_names=["unchanged", "changed"])
    expected = {(None, False): 12, (3, False): 6, (None, True): 10}[max_batches, drop_last]
    last = min(len(loader), max_batches or len(loader))
    for forgotten in (0, 1, last):
        task = Forgetful(model, None, torch.device("cpu"), tile_size=None, tile_overlap=0)
        task.forgotten = forgotten
        evaluate(
            model, task, loader, metric, seed=3, max_batches=max_batches,
            stop=AgreedStop(StopFlag(), World()), world=World(), on_batch=lambda *_: None,
        )  # fmt: skip
        if forgotten == 0:
            assert len(metric.summarize()["per_datapoint"]["idx"]) == expected
        else:
            with pytest.raises(MetricBufferError, match="missing of the"):
                metric.summarize()
