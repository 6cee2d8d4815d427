"""The training loops that Pylon's is compared with, each as its own documentation shows it."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Batch = dict[str, Any]
LOSSES = "losses.jsonl"


@dataclass(frozen=True)
class Parts:
    """What every loop gets, built from the same configuration and the same seed.

    Attributes:
        model: called as model(**inputs).
        criterion: called as criterion(logits, target).
        make_optimizer: gives the optimizer of the model's parameters.
        loader: batches {'inputs', 'labels'}, in the epoch's order.
        steps: how many steps there are.
        folder: where its logs go.
    """

    model: torch.nn.Module
    criterion: torch.nn.Module
    make_optimizer: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer]
    loader: torch.utils.data.DataLoader[Batch]
    steps: int
    folder: Path

    def loss_of(self, model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        """The scalar to minimise."""
        loss: torch.Tensor = self.criterion(model(**batch["inputs"]), batch["labels"]["change_map"])
        return loss


def hand_written(parts: Parts) -> None:
    """What a tutorial shows, and a line of JSON per step."""
    model = parts.model.train()
    optimizer = parts.make_optimizer(model.parameters())
    with (parts.folder / LOSSES).open("w", encoding="utf-8") as log:
        for step, batch in enumerate(parts.loader):
            if step == parts.steps:
                break
            optimizer.zero_grad()
            loss = parts.loss_of(model, batch)
            loss.backward()
            optimizer.step()
            log.write(json.dumps({"step": step, "loss": loss.item()}) + "\n")


def saved_by_hand(parts: Parts, every_steps: int) -> None:
    """The same with a plain torch.save of model and optimizer after each so many steps."""
    model = parts.model.train()
    optimizer = parts.make_optimizer(model.parameters())
    for step, batch in enumerate(parts.loader):
        if step == parts.steps:
            break
        optimizer.zero_grad()
        parts.loss_of(model, batch).backward()
        optimizer.step()
        if (step + 1) % every_steps == 0:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, parts.folder / "checkpoint.pt")


def skipped_by_hand(parts: Parts, done: int) -> None:
    """One step after batch `done`, reached by hand: the batches before it are loaded and dropped."""
    model = parts.model.train()
    optimizer = parts.make_optimizer(model.parameters())
    for step, batch in enumerate(parts.loader):
        if step < done:
            continue
        optimizer.zero_grad()
        parts.loss_of(model, batch).backward()
        optimizer.step()
        break


def accelerate(parts: Parts) -> None:
    """The loop of accelerate's quick tour, and the same line of JSON per step."""
    from accelerate import Accelerator  # noqa: PLC0415 - only where it is measured

    accelerator = Accelerator(cpu=True)
    optimizer = parts.make_optimizer(parts.model.parameters())
    model, optimizer, loader = accelerator.prepare(parts.model, optimizer, parts.loader)
    model.train()
    with (parts.folder / LOSSES).open("w", encoding="utf-8") as log:
        for step, batch in enumerate(loader):
            if step == parts.steps:
                break
            optimizer.zero_grad()
            loss = parts.loss_of(model, batch)
            accelerator.backward(loss)
            optimizer.step()
            log.write(json.dumps({"step": step, "loss": loss.item()}) + "\n")


def lightning(parts: Parts) -> None:
    """A LightningModule with `self.log`, and a Trainer as it comes, its CSVLogger at every step."""
    from lightning import LightningModule, Trainer  # noqa: PLC0415 - only where it is measured
    from lightning.pytorch.loggers import CSVLogger  # noqa: PLC0415

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model = parts.model

        def training_step(self, batch: Batch, _batch_idx: int) -> torch.Tensor:
            loss = parts.loss_of(self.model, batch)
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return parts.make_optimizer(self.parameters())

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=parts.steps,
        logger=CSVLogger(parts.folder, name="csv", version=0),
        log_every_n_steps=1,
        default_root_dir=parts.folder,
    )
    trainer.fit(Module(), parts.loader)
