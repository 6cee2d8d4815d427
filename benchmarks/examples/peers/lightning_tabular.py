"""Regression on a table with Lightning."""

import sys

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from torchmetrics import MeanSquaredError

from pylon.configs.examples.tabular import Regressor, Table

Batch = dict[str, torch.Tensor]


class Regression(lightning.LightningModule):
    """Model, loss, metric, optimizer and schedule."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Regressor(mean=16.0, scale=6.0)
        self.error = MeanSquaredError(squared=False)

    def training_step(self, batch: Batch, number: int) -> torch.Tensor:
        """The loss of a batch."""
        values = batch.pop("labels")
        return torch.nn.functional.mse_loss(self.model(**batch), values)

    def validation_step(self, batch: Batch, number: int) -> None:
        """Score a batch."""
        values = batch.pop("labels")
        self.error(self.model(**batch), values)
        self.log("error", self.error)

    def test_step(self, batch: Batch, number: int) -> None:
        """Score a batch."""
        self.validation_step(batch, number)

    def configure_optimizers(self) -> dict[str, object]:
        """AdamW, annealed."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


if __name__ == "__main__":
    lightning.seed_everything(1, workers=True)
    best = ModelCheckpoint(monitor="error", mode="min")
    trainer = lightning.Trainer(
        max_epochs=10, accelerator="cpu", deterministic=True, callbacks=[best], default_root_dir=sys.argv[1]
    )
    train = DataLoader(Table(1, 2000), 64, shuffle=True)
    trainer.fit(Regression(), train, DataLoader(Table(2, 500), 500))
    trainer.test(dataloaders=DataLoader(Table(3, 500), 500), ckpt_path="best")
