"""Text classification with Lightning."""

import sys

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy

from pylon.configs.examples.text import Classifier, Sentences, padded


class Classification(lightning.LightningModule):
    """Model, loss, metric and optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Classifier()
        self.accuracy = MulticlassAccuracy(2, average="micro")

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> torch.Tensor:
        """The loss of a batch."""
        words, kind = batch
        return torch.nn.functional.cross_entropy(self.model(words), kind)

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Score a batch."""
        words, kind = batch
        self.accuracy(self.model(words), kind)
        self.log("accuracy", self.accuracy)

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Score a batch."""
        self.validation_step(batch, number)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW."""
        return torch.optim.AdamW(self.parameters(), lr=0.01)


if __name__ == "__main__":
    lightning.seed_everything(1, workers=True)
    train = DataLoader(Sentences(1, 1000, 0.02), 32, shuffle=True, num_workers=2, collate_fn=padded)
    best = ModelCheckpoint(monitor="accuracy", mode="max")
    trainer = lightning.Trainer(
        max_epochs=5, accelerator="cpu", deterministic=True, callbacks=[best], default_root_dir=sys.argv[1]
    )
    trainer.fit(Classification(), train, DataLoader(Sentences(2, 200), 100, collate_fn=padded))
    trainer.test(dataloaders=DataLoader(Sentences(3, 200), 100, collate_fn=padded), ckpt_path="best")
