"""Two models trained in turn with Lightning."""

import sys

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.nn.functional import softplus
from torch.utils.data import DataLoader

from pylon.configs.examples.two_models import Pair, Ring, _cells


class Adversaries(lightning.LightningModule):
    """Models, losses, score and optimizers."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.model = Pair()
        self.counts = torch.zeros(2, 9)

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """A step of each."""
        noise, points = batch
        for turn, optimizer in enumerate(self.optimizers()):
            real, generated, judged = self.model(noise, points)
            loss = softplus(-judged) if turn else softplus(-real) + softplus(generated)
            optimizer.zero_grad()
            self.manual_backward(loss.mean())
            optimizer.step()

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Count a batch's points."""
        noise, points = batch
        self.counts += torch.stack([_cells(self.model(noise)[0]).sum(0), _cells(points).sum(0)])

    def on_validation_epoch_end(self) -> None:
        """The score of all."""
        generated, real = self.counts
        self.log("difference", (generated - real).abs().sum() / (2 * real.sum()))
        self.counts.zero_()

    def test_step(self, batch: tuple[torch.Tensor, torch.Tensor], number: int) -> None:
        """Count a batch's points."""
        self.validation_step(batch, number)

    def on_test_epoch_end(self) -> None:
        """The score of all."""
        self.on_validation_epoch_end()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Adam for each."""
        of_discriminator = torch.optim.Adam(self.model.discriminator.parameters(), 0.002, (0.5, 0.99))
        return [of_discriminator, torch.optim.Adam(self.model.generator.parameters(), 0.001, (0.5, 0.99))]


if __name__ == "__main__":
    lightning.seed_everything(1, workers=True)
    best = ModelCheckpoint(monitor="difference", mode="min")
    trainer = lightning.Trainer(
        max_epochs=12, accelerator="cpu", deterministic=True, callbacks=[best], default_root_dir=sys.argv[1]
    )
    train = DataLoader(Ring(1, 2560), 64, shuffle=True, num_workers=2)
    trainer.fit(Adversaries(), train, DataLoader(Ring(2, 500), 250))
    trainer.test(dataloaders=DataLoader(Ring(3, 500), 250), ckpt_path="best")
