"""`metrics.jsonl`: one JSON line per training step, the monitor's figures once per refresh."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import torch

from pylon.runners.errors import TrainingError
from pylon.runners.outputs.line_file import LineFile, NoFile
from pylon.runners.outputs.losses import EpochLosses


class MonitorSnapshot(Protocol):
    """What the log reads of a monitor's snapshot."""

    @property
    def sequence(self) -> int:
        """Grows by one with each refresh."""

    def as_record(self) -> dict[str, Any]:
        """Flat JSON-ready figures."""


class Step(NamedTuple):
    """One optimizer step. The loss is still a tensor: reading it would make an accelerator wait.

    `skipped`: the step was left out because a number of it was not finite.
    """

    epoch: int
    step: int
    global_step: int
    loss: torch.Tensor
    learning_rate: float
    step_time_s: float
    skipped: bool = False


class StepLog:
    """Collects steps and writes them in groups, so that losses leave the device once per group.

    Args:
        path: the `metrics.jsonl` to append to; None: keep the losses, write nothing.
        flush_every_steps: how many steps make a group.
        losses: of the steps that the running epoch has done before, if a run resumes in its middle.
        machines: asked once per group for the figures of the other machines' monitors.
        advise: what to do about the non-finite loss of a step.
        report: called with the numbers of steps in the run and their losses, once these have left the device.
    """

    def __init__(
        self,
        path: Path | None,
        flush_every_steps: int,
        losses: EpochLosses | None = None,
        machines: Callable[[], list[dict[str, Any]]] = list,
        advise: Callable[[Step], str] | None = None,
        *,
        report: Callable[[list[tuple[int, float]]], None] | None = None,
    ) -> None:
        self._file = NoFile() if path is None else LineFile(path)
        self._flush_every_steps = flush_every_steps
        self._pending: list[tuple[Step, dict[str, Any] | None]] = []
        self._sequence = -1
        self._machines = machines
        self._advise = advise
        self._report = report
        self._losses = EpochLosses() if losses is None else losses

    def __enter__(self) -> Self:
        """The log itself; the file is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file. Steps not yet flushed come after the last checkpoint and will be done again."""
        self._file.close()

    @property
    def last_loss(self) -> float | None:
        """The newest loss that has left the device, None before the first of an epoch."""
        return self._losses.last

    def add(self, step: Step, snapshot: MonitorSnapshot | None) -> None:
        """Note a step.

        Raises:
            TrainingError: a loss of the group is NaN or infinite; all steps before it are in the file.
        """
        figures = None
        if snapshot is not None and snapshot.sequence != self._sequence:
            self._sequence = snapshot.sequence
            figures = snapshot.as_record()
        self._pending.append((step, figures))
        if len(self._pending) >= self._flush_every_steps:
            self.flush()

    def flush(self) -> None:
        """Write what is pending to the file. Raises TrainingError as `add` does."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        losses = torch.stack([step.loss for step, _ in pending]).detach().double().tolist()
        if self._report is not None:
            self._report([(step.global_step, loss) for (step, _), loss in zip(pending, losses, strict=True)])
        machines = self._machines()
        lines = ""
        for number, ((step, figures), loss) in enumerate(zip(pending, losses, strict=True)):
            if not math.isfinite(loss) and not step.skipped:
                self._losses.extend(losses[:number])
                self._file.append(lines)
                advice = "" if self._advise is None else f" {self._advise(step)}"
                raise TrainingError(f"epoch {step.epoch}, step {step.step}: the loss is {loss}.{advice}")
            lines += _line(step, loss, figures, machines if step is pending[-1][0] else [])
        self._losses.extend(losses)
        self._file.append(lines)

    def so_far(self) -> EpochLosses:
        """The losses of the running epoch in step order, everything flushed. Raises as `add` does."""
        self.flush()
        return self._losses

    def sync(self) -> None:
        """Bring every flushed line to the disk, before the checkpoint that counts them; from any thread.

        Raises:
            OSError: the disk refuses; the lines stay in memory.
        """
        self._file.sync()

    def end_epoch(self) -> EpochLosses:
        """Flush the rest of the epoch; return its losses in step order, and begin the next one."""
        losses = self.so_far()
        self._losses = EpochLosses()
        return losses


def _line(step: Step, loss: float, figures: dict[str, Any] | None, machines: list[dict[str, Any]]) -> str:
    fields = (
        f'"epoch": {step.epoch}, "step": {step.step}, "global_step": {step.global_step}, '
        f'"loss": {_number(loss if math.isfinite(loss) else None)}, '
        f'"learning_rate": {_number(step.learning_rate)}, '
        f'"step_time_s": {_number(round(step.step_time_s, 6))}'
    )
    if step.skipped:
        fields += ', "skipped": true'
    if figures is not None:
        fields += f', "monitor": {json.dumps(figures)}'
    if machines:
        fields += f', "machines": {json.dumps(machines)}'
    return f"{{{fields}}}\n"


def _number(value: float | None) -> str:
    """Its JSON; that of most numbers is their own text, in a quarter of the encoder's time."""
    return repr(value) if type(value) is float and math.isfinite(value) else json.dumps(value)
