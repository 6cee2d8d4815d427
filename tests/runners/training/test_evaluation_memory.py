"""A pass over a dataset keeps nothing of its batches but each datapoint's counts."""

import weakref
from typing import Any

import pytest
import torch

from pylon.metrics import SemanticSegmentationMetric
from pylon.runners.training.supervised import SupervisedSingleTask
from tests.runners.conftest import Toy

MANY = (
    "val_dataset={'class': ToyDataset, 'args': {'data_root': '.', 'split': 'train'}}, epochs=1,"
    "val_dataloader={'class': DataLoader, 'args': {'batch_size': 1}}"
)


def test_memory_does_not_grow_with_the_validation_set(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    predict = SupervisedSingleTask.predict

    def noted(self: SupervisedSingleTask, batch: Any) -> torch.Tensor:
        alive.append(sum(one() is not None for one in outputs))
        result = predict(self, batch)
        outputs.append(weakref.ref(result))
        return result

    monkeypatch.setattr(SupervisedSingleTask, "predict", noted)
    toy.run(MANY)
    assert len(alive) >= 12
    assert max(alive) <= 1, "the last batch's, until the next one takes its name"


def test_what_is_kept_of_a_datapoint_does_not_depend_on_its_size() -> None:
    def kept(size: int) -> int:
        metric = SemanticSegmentationMetric(num_classes=2)
        metric.update(torch.rand(2, 2, size, size), torch.zeros(2, size, size, dtype=torch.int64), [0, 1])
        (statistics,) = {value.untyped_storage().nbytes() for value in metric.get_buffer().values()}
        return statistics

    assert kept(8) == kept(64) <= 200
