"""The progress of a run on screen: a live display if the terminal can move its cursor, else plain lines."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pylon.monitor import record_text
from pylon.runners.logs import moves_its_cursor

# The display is drawn by the step that finds it due, never by a thread of its own.
# A drawing takes some 3 ms.
_REDRAW_EVERY_S = 1.0
_LINE_EVERY_S = 15.0
_GIB = 2**30
_HARDWARE = ("cpu", "memory", "gpu", "also")
_OTHER_VALUES = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Status:
    """What the display shows after a step.

    Attributes:
        phase: 'train', 'validate' or 'test'.
        epoch, epochs: the running epoch, counted from 0, and how many there are.
        step, steps: steps done in this phase, and how many there are, None if unknown.
        loss: newest loss known, None if there is none.
        learning_rate: of the first parameter group, None outside training.
        step_time_s: wall time of the newest step.
        monitor: the monitor's flat figures, None without a monitor.
    """

    phase: str
    epoch: int
    epochs: int
    step: int
    steps: int | None
    loss: float | None = None
    learning_rate: float | None = None
    step_time_s: float | None = None
    monitor: dict[str, Any] | None = None

    @property
    def done_share(self) -> float:
        """Share of the whole run that is done, 0..1, counting training steps."""
        if self.phase != "train":
            within = 1.0
        else:
            within = 0.0 if self.steps is None else self.step / max(self.steps, 1)
        return min((self.epoch + within) / max(self.epochs, 1), 1.0)

    @property
    def done(self) -> str:
        """The steps done, of how many if that is known."""
        return str(self.step) if self.steps is None else f"{self.step}/{self.steps}"


class Display(Protocol):
    """Shows how far a run is."""

    def due(self) -> bool:
        """Whether `show` would draw now; asked first, so that steps in between cost nothing."""

    def show(self, status: Status) -> None:
        """Draw the newest status."""


class PlainDisplay:
    """One log line every 15 s, for files, pipes and batch systems."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _LINE_EVERY_S

    def due(self) -> bool:
        """See Display."""
        return time.monotonic() >= self._next_s

    def show(self, status: Status) -> None:
        """See Display."""
        self._next_s = time.monotonic() + _LINE_EVERY_S
        logger.info(
            "epoch %d/%d %s %s%s",
            status.epoch + 1,
            status.epochs,
            status.phase,
            status.done,
            "".join(f"  {name} {text}" for name, text in _fields(status).items() if text),
        )


class TerminalDisplay:
    """Two live bars, run and phase, with the newest figures next to them."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._next_s = 0.0
        self._run = progress.add_task("run", total=1.0, text="")
        self._phase = progress.add_task("", total=None, text="")

    def due(self) -> bool:
        """See Display."""
        return time.monotonic() >= self._next_s

    def show(self, status: Status) -> None:
        """See Display."""
        self._next_s = time.monotonic() + _REDRAW_EVERY_S
        fields = _fields(status)
        hardware = "  ".join(f"{name} {fields[name]}" for name in _HARDWARE if fields[name])
        training = "  ".join(f"{name} {fields[name]}" for name in ("loss", "lr", "step") if fields[name])
        self._progress.update(
            self._run,
            completed=status.done_share,
            description=f"epoch {status.epoch + 1}/{status.epochs}",
            text=hardware,
        )
        self._progress.update(
            self._phase,
            completed=status.step,
            total=status.steps,
            description=f"{status.phase} {status.done}",
            text=training,
        )
        self._progress.refresh()


@contextlib.contextmanager
def opened_display(console: Console) -> Iterator[Display]:
    """A display that fits where `console` writes; log lines stay readable above a live one."""
    if not moves_its_cursor(console):
        yield PlainDisplay()
        return
    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TimeRemainingColumn(compact=True),
        # Values of a user's monitor may hold square brackets.
        TextColumn("{task.fields[text]}", markup=False),
        console=console,
        auto_refresh=False,
        transient=True,
    )
    with progress:
        yield TerminalDisplay(progress)


def _fields(status: Status) -> dict[str, str]:
    figures = status.monitor or {}
    return {
        "loss": "" if status.loss is None else f"{status.loss:.4f}",
        "lr": "" if status.learning_rate is None else f"{status.learning_rate:.2e}",
        "step": "" if status.step_time_s is None else f"{status.step_time_s:.2f} s",
        "cpu": _percent(figures.get("cpu_percent")),
        "memory": _memory(figures.get("memory_used_bytes"), figures.get("memory_total_bytes")),
        "gpu": _gpus(figures),
        "also": _others(figures),
    }


def _others(figures: dict[str, Any]) -> str:
    """What monitors of the user's own have seen."""
    return "; ".join(
        f"{name} {f'{server} ' if len(by_server) > 1 else ''}{record_text(record, _OTHER_VALUES)}"
        for name, by_server in (figures.get("others") or {}).items()
        for server, record in by_server.items()
    )


def _gpus(figures: dict[str, Any]) -> str:
    used = figures.get("gpu_memory_used_bytes") or []
    total = figures.get("gpu_memory_total_bytes") or []
    busy = figures.get("gpu_util_percent") or []
    rows = zip(busy, used, total, strict=False)
    return ", ".join(f"{_percent(b) or '?'} {_memory(u, t) or '?'}" for b, u, t in rows)


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f} %"


def _memory(used: float | None, total: float | None) -> str:
    return "" if used is None or total is None else f"{used / _GIB:.1f}/{total / _GIB:.1f} GiB"
