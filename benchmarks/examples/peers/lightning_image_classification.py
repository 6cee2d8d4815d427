"""Image classification with Lightning."""

import sys

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from pylon.configs.examples.image_classification import Classifier, Digits


class Classification(lightning.LightningModule):
    """Model, loss, metric and optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Classifier()
        self.accuracy = MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """The loss of a batch."""
        image, digit = batch
        return torch.nn.functional.cross_entropy(self.model(image), digit, label_smoothing=0.05)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Score a batch."""
        image, digit = batch
        self.accuracy(self.model(image), digit)
        self.log("accuracy", self.accuracy)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Score a batch."""
        self.validation_step(batch, number)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=0.01)


if __name__ == "__main__":
    lightning.seed_everything(1, workers=True)
    train = DataLoader(Digits(0, 1600, 0.2), 32, shuffle=True, num_workers=2)
    best = ModelCheckpoint(monitor="accuracy", mode="max")
    trainer = lightning.Trainer(
        max_epochs=5, accelerator="cpu", deterministic=True, callbacks=[best], default_root_dir=sys.argv[1]
    )
    trainer.fit(Classification(), train, DataLoader(Digits(10_000, 200), 100))
    trainer.test(dataloaders=DataLoader(Digits(20_000, 200), 100), ckpt_path="best")
