"""PylonCallback in the Trainer of transformers."""

import time
from pathlib import Path

import pytest
import torch

from tests.recorder.callbacks.conftest import Recorded
from tests.recorder.callbacks.required import require

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


class Model(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        found = self.layer(x)
        return {"loss": (found - labels).square().mean(), "logits": found}


class Rows(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.01)
        return {"x": torch.ones(2), "labels": torch.zeros(1)}


def test_training_is_recorded(recorded: Recorded, tmp_path: Path) -> None:
    transformers = require("transformers")
    require("accelerate")
    from pylon.recorder.callbacks.transformers import PylonCallback

    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=2,
        eval_strategy="epoch",
        save_strategy="epoch",
        logging_steps=2,
        use_cpu=True,
        disable_tqdm=True,
        report_to=[],
    )
    trainer = transformers.Trainer(
        model=Model(),
        args=arguments,
        train_dataset=Rows(),
        eval_dataset=Rows(),
        callbacks=[PylonCallback()],
    )
    trainer.remove_callback(transformers.trainer_callback.PrinterCallback)
    trainer.train()
    read = recorded.read()
    steps = [one for one in read.steps if one.seconds is not None]
    assert [(one.number, one.epoch) for one in steps] == [(1, 0), (2, 0), (3, 1), (4, 1)]
    for one in steps:
        assert one.wait_s is not None
        assert one.seconds is not None
        # Two batches of one datapoint each.
        assert 0.01 <= one.wait_s <= one.seconds < 0.5
    losses = [(one.number, one.loss) for one in read.steps if one.seconds is None]
    assert [number for number, _ in losses] == [2, 4]
    assert all(loss is not None and loss > 0 for _, loss in losses)
    assert "eval_loss" in [mark.detail["name"] for mark in read.marks if mark.kind == "score"]
    kinds = [kind for kind in recorded.kinds() if kind not in {"learning_rate", "score"}]
    of_epoch = ["epoch", "validation_begin", "validation_end", "checkpoint_end"]
    assert kinds == ["joined", *of_epoch * 2, "left"]
