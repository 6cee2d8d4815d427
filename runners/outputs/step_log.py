"""`metrics.jsonl`: one JSON line per training step, the monitor's figures once per refresh."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import torch

from pylon.runners.errors import TrainingError
from pylon.runners.outputs.line_file import LineFile, NoFile
from pylon.storage import atomic_path


class MonitorSnapshot(Protocol):
    """What the log reads of a monitor's snapshot."""

    @property
    def sequence(self) -> int:
        """Grows by one with each refresh."""

    def as_record(self) -> dict[str, Any]:
        """Flat JSON-ready figures."""


@dataclass(frozen=True)
class Step:
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
    """

    def __init__(
        self,
        path: Path | None,
        flush_every_steps: int,
        losses: Sequence[float] = (),
        machines: Callable[[], list[dict[str, Any]]] = list,
        advise: Callable[[Step], str] | None = None,
    ) -> None:
        self._file = NoFile() if path is None else LineFile(path)
        self._flush_every_steps = flush_every_steps
        self._pending: list[tuple[Step, dict[str, Any] | None]] = []
        self._sequence = -1
        self._machines = machines
        self._advise = advise
        self._losses: list[float] = list(losses)

    def __enter__(self) -> Self:
        """The log itself; the file is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file. Steps not yet flushed come after the last checkpoint and will be done again."""
        self._file.close()

    @property
    def last_loss(self) -> float | None:
        """The newest loss that has left the device, None before the first of an epoch."""
        return self._losses[-1] if self._losses else None

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
        losses = torch.stack([step.loss.detach() for step, _ in pending]).double().tolist()
        machines = self._machines()
        lines = ""
        for (step, figures), loss in zip(pending, losses, strict=True):
            if not math.isfinite(loss) and not step.skipped:
                self._file.append(lines)
                advice = "" if self._advise is None else f" {self._advise(step)}"
                raise TrainingError(f"epoch {step.epoch}, step {step.step}: the loss is {loss}.{advice}")
            self._losses.append(loss)
            lines += _line(step, loss, figures, machines if step is pending[-1][0] else [])
        self._file.append(lines)

    def so_far(self) -> list[float]:
        """The losses of the running epoch in step order, everything flushed. Raises as `add` does."""
        self.flush()
        return list(self._losses)

    def sync(self) -> None:
        """Bring every flushed line to the disk, before the checkpoint that counts them; from any thread.

        Raises:
            OSError: the disk refuses; the lines stay in memory.
        """
        self._file.sync()

    def end_epoch(self) -> list[float]:
        """Flush the rest of the epoch; return its losses in step order, and begin the next one."""
        losses = self.so_far()
        self._losses = []
        return losses


def _line(step: Step, loss: float, figures: dict[str, Any] | None, machines: list[dict[str, Any]]) -> str:
    record: dict[str, Any] = {
        "epoch": step.epoch,
        "step": step.step,
        "global_step": step.global_step,
        "loss": loss if math.isfinite(loss) else None,
        "learning_rate": step.learning_rate,
        "step_time_s": round(step.step_time_s, 6),
    }
    if step.skipped:
        record["skipped"] = True
    if figures is not None:
        record["monitor"] = figures
    if machines:
        record["machines"] = machines
    return json.dumps(record) + "\n"


def drop_unfinished_epochs(path: Path, finished: int, steps: int = 0) -> None:
    """Remove the lines that a resumed run will write again, and a line torn by a kill.

    Args:
        path: the `metrics.jsonl`; nothing happens if it is absent.
        finished: number of finished epochs; of epoch `finished` only the first `steps` lines stay.
        steps: steps of the unfinished epoch that the run resumes after.
    """
    if not path.exists():
        return
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as kept:
        kept.writelines(_lines_before(path, (finished, steps)))


def _lines_before(path: Path, position: tuple[int, int]) -> Iterator[str]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                content = json.loads(line)
                if (content["epoch"], content["step"]) < position:
                    yield line if line.endswith("\n") else line + "\n"
            except (ValueError, KeyError, TypeError):
                # Only the last line can be torn: the file is written front to back by one process.
                return
