"""A Lightning callback: `Trainer(callbacks=[PylonCallback("runs/first")])`."""

import os
import sys
from typing import TYPE_CHECKING, Any

from pylon.recorder.callbacks.watch import Watch

if TYPE_CHECKING:
    Callback = object
elif "pytorch_lightning" in sys.modules and "lightning.pytorch" not in sys.modules:
    # The two packages are the same code, and each takes only callbacks of its own class.
    from pytorch_lightning import Callback
else:
    from lightning.pytorch import Callback


class PylonCallback(Callback):
    """Records steps, the wait for data, losses, epochs, validations, checkpoints, scores and the end.

    Args:
        path: folder of the record; without one it only joins a recorder that runs already (`pylon run`).
        name: of the run.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, name: str | None = None) -> None:
        super().__init__()
        self._path, self._name = path, name
        self._watch = Watch()
        self._saving = False

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        """The training is about to begin."""
        if self._path is not None:
            self._watch.begin(self._path, kind="callback", name=self._name)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """From here on it waits for the first batch."""
        self._saved()
        self._watch.mark("epoch", epoch=trainer.current_epoch)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The batch is here."""
        self._saved()
        self._watch.clock.begin()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """The step is done. With accumulated gradients, each batch is one."""
        loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
        self._watch.step(loss, epoch=trainer.current_epoch)

    def on_validation_start(self, trainer: Any, pl_module: Any) -> None:
        """Also before the training, to see whether it works."""
        self._watch.mark("validation_begin")

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """The scores are known."""
        self._watch.mark("validation_end")
        if not trainer.sanity_checking:
            self._watch.scores(trainer.callback_metrics, epoch=trainer.current_epoch)

    def on_save_checkpoint(self, trainer: Any, pl_module: Any, checkpoint: Any) -> None:
        """A checkpoint is about to be written; Lightning has no hook for its end."""
        self._saving = True
        self._watch.mark("checkpoint_begin", step=trainer.global_step)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """What comes until the next epoch is no wait for data."""
        self._saved()
        self._watch.clock.busy()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """The training fails."""
        self._watch.end(exception)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        """It is over."""
        self._saved()
        self._watch.end()

    def _saved(self) -> None:
        if self._saving:
            self._saving = False
            self._watch.mark("checkpoint_end")
