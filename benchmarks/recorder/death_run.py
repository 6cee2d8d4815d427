"""A small training that one tool watches, and that dies: `death_run.py TOOL FOLDER DEATH`.

It writes its number to FOLDER/ready once the tool watches it, waits for FOLDER/go, takes some steps and dies.
Each tool is used as its own documentation shows it.
"""

import ctypes
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

STEPS = 25
_STEP_S = 0.02


class _Program:
    def __init__(self, folder: Path, death: str) -> None:
        self.folder, self.death = folder, death

    def wait(self) -> None:
        """Report that the tool watches, and wait for the start."""
        (self.folder / "ready.new").write_text(str(os.getpid()))
        (self.folder / "ready.new").rename(self.folder / "ready")
        while not (self.folder / "go").exists():
            time.sleep(0.02)

    def steps(self, log: Callable[[int, float], object]) -> None:
        """Take all steps, log the loss of each, and die."""
        self.wait()
        for number in range(STEPS):
            time.sleep(_STEP_S)
            log(number, 1.0 / (1 + number))
        self.die()

    def die(self) -> None:
        """Do what the death needs; `sigterm`, `sigkill` and `hang` are ended by another process."""
        (self.folder / "dying").touch()
        if self.death == "exception":
            message = "shapes (3, 4) and (5,) do not match"
            raise ValueError(message)
        if self.death == "exit 3":
            sys.exit(3)
        if self.death == "_exit 0":
            os._exit(0)
        if self.death == "segfault":
            ctypes.string_at(0)
        if self.death == "abort":
            os.abort()
        kept = []
        while self.death == "memory":
            kept.append(b"x" * (8 << 20))
        if self.death != "clean":
            time.sleep(60)


def _nothing(_number: int, _loss: float) -> None:
    pass


def _bare(program: _Program) -> None:
    program.steps(_nothing)


def _recorder(program: _Program) -> None:
    from pylon.recorder import Recorder  # noqa: PLC0415

    record = program.folder / "record/history.sqlite"
    with Recorder(record, kind="loop", name="mine", hang_after_s=1.0) as recorder:
        while not recorder.begun:
            time.sleep(0.01)
        program.steps(lambda number, loss: recorder.sender.step(number, _STEP_S, loss=loss))


def _wandb(program: _Program) -> None:
    import wandb  # noqa: PLC0415

    with wandb.init(project="deaths", mode="offline", dir=program.folder) as run:
        program.steps(lambda number, loss: run.log({"loss": loss}, step=number))


def _mlflow(program: _Program) -> None:
    import mlflow  # noqa: PLC0415

    mlflow.set_tracking_uri(f"sqlite:///{program.folder}/mlflow.db")
    with mlflow.start_run(log_system_metrics=True):
        program.steps(lambda number, loss: mlflow.log_metric("loss", loss, step=number))


def _lightning(program: _Program) -> None:
    import lightning  # noqa: PLC0415
    import torch  # noqa: PLC0415
    from lightning.pytorch.callbacks import DeviceStatsMonitor  # noqa: PLC0415
    from lightning.pytorch.loggers import CSVLogger  # noqa: PLC0415

    class Module(lightning.LightningModule):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def on_train_start(self) -> None:
            program.wait()

        def training_step(self, batch: list[torch.Tensor], number: int) -> torch.Tensor:
            if number == STEPS - 1:
                program.die()
            time.sleep(_STEP_S)
            loss: torch.Tensor = self.layer(batch[0]).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(STEPS, 1)))
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=CSVLogger(program.folder, flush_logs_every_n_steps=1),
        callbacks=[DeviceStatsMonitor(cpu_stats=True)],
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    trainer.fit(Module(), data)


_WATCHED: dict[str, Callable[[_Program], None]] = {
    "Recorder": _recorder,
    "W&B offline": _wandb,
    "MLflow": _mlflow,
    "Lightning": _lightning,
}

if __name__ == "__main__":
    _WATCHED.get(sys.argv[1], _bare)(_Program(Path(sys.argv[2]), sys.argv[3]))
