"""What a training loop reports of itself: steps, marks, its end. Whatever fails, the training goes on."""

import contextlib
import functools
import logging
import os
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from pylon.recorder.callbacks.clock import StepClock
from pylon.recorder.callbacks.losses import Losses
from pylon.recorder.callbacks.opening import Opened, joined, opened
from pylon.recorder.channel import Sender
from pylon.recorder.endings import words_of

_logger = logging.getLogger("pylon.recorder")
Item = TypeVar("Item")
Arguments = ParamSpec("Arguments")


def never_raising(
    method: Callable[Concatenate["Watch", Arguments], None],
) -> Callable[Concatenate["Watch", Arguments], None]:
    """A method whose first exception is logged, and every further one dropped."""

    @functools.wraps(method)
    def guarded(self: "Watch", /, *arguments: Arguments.args, **named: Arguments.kwargs) -> None:
        try:
            method(self, *arguments, **named)
        except Exception:  # noqa: BLE001 - whatever it is, no training ends because of it
            self.note_failure(traceback.format_exc())

    return guarded


class Watch:
    """Reports steps and marks to the recorder of this process tree, or to one that it starts itself.

    Under `pylon run`, and in a process that a recorded one has started, it joins what records there.
    """

    def __init__(self) -> None:
        self.clock = StepClock()
        self._losses = Losses()
        self._opened: Opened | None = None
        self._looked = self._failed = False
        self._number = 0

    @contextlib.contextmanager
    def recording(self, path: str | os.PathLike[str], *, name: str | None = None) -> Iterator[Self]:
        """Record what happens inside into the folder `path`.

        Args:
            path: of the folder, made if it is not there.
            name: of the run; the folder's own name by default.
        """
        self.begin(path, kind="loop", name=name)
        try:
            yield self
        except BaseException as error:
            self.end(error)
            raise
        self.end()

    @never_raising
    def begin(self, path: str | os.PathLike[str], *, kind: str, name: str | None = None) -> None:
        """Join the recorder of this process tree, or start one that writes into the folder `path`."""
        if self._opened is None:
            self._opened = opened(Path(path), kind, name)
        self._looked = True

    @never_raising
    def end(self, error: BaseException | None = None) -> None:
        """Nothing more comes; `error` is why, if the training failed."""
        self._send_ready()
        ending, self._opened = self._opened, None
        self.clock.busy()
        if ending is not None:
            ending.close({} if error is None else words_of(error))

    @never_raising
    def step(self, loss: object = None, *, number: int | None = None, epoch: int | None = None) -> None:
        """A step is done.

        Args:
            loss: a number or a tensor with one; a GPU is not waited for.
            number: of the step, over all epochs; one more than the last by default.
            epoch: counted from 0.
        """
        self._number = self._number + 1 if number is None else number
        took = self.clock.end()
        self._send_step(took, loss, epoch)

    @never_raising
    def average_step(self, number: int, loss: object = None) -> None:
        """The steps since the last call are done, up to this number; they count as equally long."""
        steps, took = number - self._number, self.clock.end()
        if steps > 0:
            self._number = number
            self._send_step(None if took is None else (took[0] / steps, None), loss, None)

    @never_raising
    def loss(self, number: int, value: float) -> None:
        """The loss of a step that was reported before."""
        if (sender := self._sender()) is not None:
            sender.loss(number, value)

    @never_raising
    def mark(self, kind: str, /, **detail: object) -> None:
        """Something happens: 'epoch', 'validation_begin', 'validation_end', 'checkpoint_begin', ...

        Time between a mark that ends in '_begin' and one that ends in '_end' is no step's.
        """
        if kind.endswith("_begin"):
            self.clock.busy()
        elif kind.endswith("_end") or kind == "epoch":
            self.clock.free()
        if (sender := self._sender()) is not None:
            sender.mark(kind, **detail)

    @never_raising
    def scores(self, values: Mapping[str, object], /, **where: object) -> None:
        """Figures of the training, such as those of a validation. What is no number is left out."""
        if (sender := self._sender()) is None:
            return
        for name, value in values.items():
            with contextlib.suppress(TypeError, ValueError, RuntimeError):
                number = float(value)  # type: ignore[arg-type]  # whatever float takes
                sender.mark("score", name=name, value=number, **where)

    def batches(self, loader: Iterable[Item]) -> Iterator[Item]:
        """The items of `loader`; how long each is waited for is part of the step's report."""
        self.clock.free()
        for item in loader:
            self.clock.begin()
            yield item

    def note_failure(self, text: str) -> None:
        """Log a failure, if it is the first."""
        if not self._failed:
            self._failed = True
            _logger.warning("recorder: something failed; the training goes on. %s", text)

    def _send_step(self, took: tuple[float, float | None] | None, loss: object, epoch: int | None) -> None:
        sender = self._sender()
        if sender is None:
            return
        value = self._losses.known(self._number, loss)
        if took is not None:
            sender.step(self._number, took[0], took[1], value, epoch)
        elif value is not None:
            # The time of the first step is not known: nothing has come before it.
            sender.loss(self._number, value)
        else:
            sender.untimed_step(self._number)
        self._send_ready()

    def _send_ready(self) -> None:
        if self._opened is not None:
            for number, value in self._losses.ready():
                self._opened.sender.loss(number, value)

    def _sender(self) -> Sender | None:
        if self._opened is None and not self._looked:
            self._looked = True
            self._opened = joined("loop")
            if self._opened is None:
                _logger.info("recorder: nothing records here; use watch.recording(DIR) or `pylon run`")
        return None if self._opened is None else self._opened.sender


# That of a plain loop: a process has one record.
watch = Watch()
