"""Records of launches that never ran, and a logger whose service is a file."""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.recorder.history import (
    EndingRow,
    History,
    HistoryWriter,
    LaunchRow,
    SeriesKey,
    StepWindow,
    open_history,
)
from pylon.views.loggers import End, Entry, Logger, Picture, Run, Scalars
from pylon.views.loggers.entries import next_part
from pylon.views.loggers.position import Position

BEGAN_AT = 1_790_000_000.0
# A boot id of no machine: nothing of it runs here.
ELSEWHERE = "00000000-0000-0000-0000-000000000000"
LOAD = SeriesKey("localhost", "", "load_1m", "count", "host")
POWER = SeriesKey("gpu1", "GPU-0a1b", "gpu_power", "watts", "device")


def add_launch(
    path: Path,
    *,
    begin_s: float = 0.0,
    first_step: int = 0,
    seconds: int = 60,
    width_s: int = 1,
    ending: tuple[str, str] | None = ("finished", "clean"),
    configuration: Mapping[str, Any] | None = None,
) -> None:
    """Add a launch of one step per second to a record. The loss of step n is 1 / (n + 1).

    Args:
        path: of the record.
        begin_s: seconds after the time of the first launch.
        first_step: the step that it begins with.
        seconds: how long it lasts, and how many steps it takes.
        width_s: of a window of steps; a score comes with every tenth window.
        ending: state and cause; None: it has no ending row.
        configuration: of the run.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(configuration or {"optimizer": {"args": {"lr": 0.1}}, "seed": 1})
    with HistoryWriter(path) as writer:
        began = BEGAN_AT + begin_s
        launch = writer.begin(
            LaunchRow(began, "runner", "mine", "far", ELSEWHERE, 2**22 + 1, 1, configuration=text)
        )
        writer.mark(launch, began, "learning_rate", {"value": 0.1})
        for second in range(0, seconds, width_s):
            t, first = began + second, first_step + second
            last = first + width_s - 1
            losses = [1 / (step + 1) for step in range(first, last + 1)]
            mean = sum(losses) / len(losses)
            writer.window(
                StepWindow(
                    launch, t, float(width_s), width_s, first, last, first // 10,
                    0.9, 1.0, 1.1, 0.1, 0.2, 0.3,
                    min(losses), mean, max(losses), width_s, 0,
                )
            )  # fmt: skip
            writer.sample(t, [(LOAD, float(last), None), (POWER, 100.0, None)])
            if second // width_s % 10 == 9:
                detail = {"epoch": last // width_s // 10, "name": "f1", "value": last / 1e6, "is_best": True}
                writer.mark(launch, t + width_s / 2, "score", detail)
            writer.commit()
        if ending is not None:
            at = began + seconds
            writer.end(EndingRow(launch, at, *ending, "confirmed", "program"))
        writer.commit()


def position(**changes: Any) -> Position:
    return Position(**{"id": "a1b2", "target": "", "record": BEGAN_AT, **changes})


def all_entries(path: Path, now: float | None = None) -> list[Entry]:
    """What a logger gets of a record that is sent at once."""
    with open_history(path) as history:
        return entries_from(history, position(), time.time() if now is None else now)[0]


def entries_from(history: History, at: Position, now: float) -> tuple[list[Entry], Position]:
    entries: list[Entry] = []
    while (part := next_part(history, at, now)) is not None:
        entries += part.entries
        at = part.after
    return entries, at


def points(entries: list[Entry]) -> list[tuple[str, int, float, float]]:
    """Name, step, time and value of each number, in an order that does not depend on the service's."""
    return sorted(
        (name, one.step, round(one.t, 3), round(value, 6))
        for one in entries
        if isinstance(one, Scalars)
        for name, value in one.values.items()
    )


class FileLogger(Logger):
    """Its service is a file of lines; rows that it has are not written again.

    Args:
        trouble: a file; while it is there, its text is what goes wrong: 'raise', 'hang', 'exit' or 'refuse'.
    """

    LIBRARY = "json"
    EXTRA = "none"

    def __init__(self, trouble: str | None = None) -> None:
        self._trouble = None if trouble is None else Path(trouble)
        self._lines: list[str] = []

    def open(self, run: Run, kept: Mapping[str, Any]) -> None:
        self._meet_trouble()
        self._path = run.folder / "lines.jsonl"
        self._rows = int(kept.get("rows", 0))

    def scalars(self, entry: Scalars) -> None:
        self._lines.append(json.dumps(["scalars", *entry]))

    def picture(self, entry: Picture) -> None:
        self._lines.append(json.dumps(["picture", *entry]))

    def end(self, entry: End) -> None:
        self._lines.append(json.dumps(["end", *entry]))

    def flush(self) -> dict[str, Any]:
        self._meet_trouble()
        with self._path.open("a") as file:
            file.write("".join(f"{line}\n" for line in self._lines))
        self._rows += len(self._lines)
        self._lines.clear()
        return {"rows": self._rows}

    def close(self) -> dict[str, Any]:
        return self.flush()

    def _meet_trouble(self) -> None:
        what = self._trouble.read_text() if self._trouble is not None and self._trouble.exists() else ""
        if what and self._trouble is not None:
            self._trouble.with_suffix(".met").touch()
        if what == "raise":
            raise ConnectionError("the service is down")
        if what == "refuse":
            raise TypeError("no such user")
        if what == "exit":
            os._exit(3)
        if what == "hang":
            time.sleep(3600)


FILE_LOGGER = f"{FileLogger.__module__}:{FileLogger.__qualname__}"
