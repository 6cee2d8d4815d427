"""A tracker of accelerate: `Accelerator(log_with=PylonTracker("runs/first"))`."""

import os
from typing import TYPE_CHECKING, Any

from pylon.recorder.callbacks.watch import Watch

if TYPE_CHECKING:
    GeneralTracker = object
else:
    from accelerate.tracking import GeneralTracker


class PylonTracker(GeneralTracker):
    """Records the steps and the loss that are logged, and the end.

    accelerate has no hooks: what a step takes follows from the times of `accelerator.log({...}, step=N)`. For
    marks and the wait for data, use `accelerator.get_tracker("pylon", unwrap=True)`, which is a Watch.

    Args:
        path: folder of the record; without one it only joins a recorder that runs already (`pylon run`).
        name: of the run.
        loss: under which name the loss is logged.
    """

    name = "pylon"
    requires_logging_directory = False

    def __init__(
        self, path: str | os.PathLike[str] | None = None, *, name: str | None = None, loss: str = "loss"
    ) -> None:
        super().__init__()
        self._path, self._run_name, self._loss = path, name, loss
        self._watch = Watch()

    @property
    def tracker(self) -> Watch:
        """The object behind it."""
        return self._watch

    def start(self) -> None:
        """Called by `accelerator.init_trackers`, once the process is known to be the main one."""
        if self._path is not None:
            self._watch.begin(self._path, kind="callback", name=self._run_name)

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """The arguments of the training."""
        self._watch.mark("configuration", **values)

    def log(self, values: dict[str, Any], step: int | None = None, **others: Any) -> None:
        """What the training logs."""
        if step is not None:
            self._watch.average_step(step, values.get(self._loss))
        self._watch.scores({name: one for name, one in values.items() if name != self._loss}, step=step)

    def finish(self) -> None:
        """Called by `accelerator.end_training`."""
        self._watch.end()
