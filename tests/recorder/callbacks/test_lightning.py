"""PylonCallback in Lightning's own Trainer, of both packages."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.recorder.callbacks.conftest import Recorded
from tests.recorder.callbacks.required import require

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
PACKAGES = ["lightning.pytorch", "pytorch_lightning"]


@pytest.fixture(params=PACKAGES)
def lightning(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The package under test, as if the other one were not loaded."""
    package = require(request.param)
    for other in set(PACKAGES) - {request.param}:
        monkeypatch.delitem(sys.modules, other, raising=False)
    monkeypatch.delitem(sys.modules, "pylon.recorder.callbacks.lightning", raising=False)
    yield package
    sys.modules.pop("pylon.recorder.callbacks.lightning", None)


def trainer_of(lightning: ModuleType, folder: Path, **settings: object):
    module = importlib.import_module("pylon.recorder.callbacks.lightning")
    return lightning.Trainer(
        callbacks=[module.PylonCallback()],
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def model_of(lightning: ModuleType, fails_at: int | None = None):
    class Model(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(2, 1)

        def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
            if self.global_step == fails_at:
                raise ValueError("my own")
            return self.layer(batch).square().mean()

        def validation_step(self, batch: torch.Tensor, batch_idx: int) -> None:
            self.log("val_loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Model()


def batches(number: int) -> torch.utils.data.DataLoader:
    return torch.utils.data.DataLoader(torch.ones(number, 2), batch_size=1)


def test_training_is_recorded(lightning: ModuleType, recorded: Recorded, tmp_path: Path) -> None:
    trainer = trainer_of(lightning, tmp_path, max_epochs=2)
    trainer.fit(model_of(lightning), batches(3), batches(2))
    steps = recorded.read().steps
    assert [(one.number, one.epoch) for one in steps] == [(n, (n - 1) // 3) for n in range(1, 7)]
    for one in steps:
        assert one.loss is not None
        assert one.seconds is not None
        assert one.wait_s is not None
        assert 0 <= one.wait_s < one.seconds
    kinds = recorded.kinds()
    validation = ["validation_begin", "validation_end"]
    assert [one for one in kinds if one not in {"checkpoint_begin", "checkpoint_end"}] == [
        *("joined", *validation),  # Lightning tries the validation before the training
        *("epoch", *validation, "score") * 2,
        "left",
    ]
    assert kinds.count("checkpoint_begin") == kinds.count("checkpoint_end") == 2
    (score, _) = (mark.detail for mark in recorded.all.marks if mark.kind == "score")
    assert score["name"] == "val_loss"
    assert score["value"] > 0
    assert recorded.last_words() == []


def test_training_that_fails(lightning: ModuleType, recorded: Recorded, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="my own"):
        trainer_of(lightning, tmp_path, max_epochs=1).fit(model_of(lightning, fails_at=2), batches(4))
    assert [one.number for one in recorded.read().steps] == [1, 2]
    (word,) = recorded.last_words()
    assert (word["error_type"], word["error"]) == ("ValueError", "my own")
    assert "training_step" in str(word["last_lines"])
