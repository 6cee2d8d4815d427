"""A callback of Hugging Face's Trainer: `Trainer(..., callbacks=[PylonCallback("runs/first")])`."""

import os
from typing import TYPE_CHECKING, Any

from pylon.recorder.callbacks.watch import Watch

if TYPE_CHECKING:
    TrainerCallback = object
else:
    from transformers import TrainerCallback


class PylonCallback(TrainerCallback):
    """Records steps, the wait for data, losses as logged, epochs, evaluations, saves, scores and the end.

    The Trainer calls nothing when a training fails. How the process ends is recorded all the same.

    Args:
        path: folder of the record; without one it only joins a recorder that runs already (`pylon run`).
        name: of the run.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None, *, name: str | None = None) -> None:
        self._path, self._name = path, name
        self._watch = Watch()
        self._evaluating = False
        self._epoch = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The training is about to begin."""
        if self._path is not None:
            self._watch.begin(self._path, kind="callback", name=self._name)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """From here on it waits for the first batch."""
        self._epoch = round(state.epoch or 0)
        self._watch.mark("epoch", epoch=self._epoch)

    def on_step_begin(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """All batches of the step are here."""
        self._watch.clock.begin()

    def on_step_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The step is done."""
        self._watch.step(number=state.global_step, epoch=self._epoch)

    def on_prediction_step(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """The first one of an evaluation is its begin, for which there is no hook."""
        if not self._evaluating:
            self._evaluating = True
            self._watch.mark("validation_begin")

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **others: Any) -> None:
        """The scores are known."""
        self._evaluating = False
        self._watch.mark("validation_end")
        self._watch.scores(metrics or {}, step=state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """A checkpoint was written; there is no hook for its begin."""
        self._watch.mark("checkpoint_end", step=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **others: Any) -> None:
        """The mean loss of the steps since the last time, and the learning rate."""
        logged = logs or {}
        if "loss" in logged:
            self._watch.loss(state.global_step, logged["loss"])
        if "learning_rate" in logged:
            self._watch.mark("learning_rate", value=logged["learning_rate"], step=state.global_step)

    def on_train_end(self, args: Any, state: Any, control: Any, **others: Any) -> None:
        """It is over."""
        self._watch.end()
