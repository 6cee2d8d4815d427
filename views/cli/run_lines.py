"""Runs for plain output: a line each, or all of it for programs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylon.monitor import printable
from pylon.monitor.views.plain import plain
from pylon.recorder.report.units import duration_text, value_text
from pylon.views.sources.board import RunBoard
from pylon.views.sources.runs import RunNow, silent_s


class RunLines:
    """The runs below some paths.

    Args:
        paths: as the user gives them.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._board = RunBoard(paths)

    def lines(self) -> list[str]:
        """A line per run, and one for what could not be read."""
        found = self._board.refresh()
        more = [f"... and {found.left_out} more runs"] if found.left_out else []
        return [*map(_line, found.runs), *more, *map(printable, found.problems)]

    def record(self) -> dict[str, Any]:
        """The runs as plain data."""
        found = self._board.refresh()
        return {
            "runs": [{**_plain(run), "state": run.state, "name": run.name} for run in found.runs],
            "run_problems": list(found.problems),
        }


def _plain(run: RunNow) -> dict[str, Any]:
    record: dict[str, Any] = plain(run)
    # What a run is made of is in its record; a command line and a configuration can hold secrets.
    launch = {name: record["launch"][name] for name in ("id", "began_at", "kind", "host", "pid")}
    return record | {"path": str(run.path), "launch": launch}


def _line(run: RunNow) -> str:
    if run.ending is not None:
        return printable(f"run {run.name}: {run.state}: {run.cause}")
    planned = "" if run.epochs is None else f" of {run.epochs}"
    wait = None if run.wait_s is None or not run.step_s else 100 * run.wait_s / run.step_s
    facts = [
        f"epoch {_or_unknown(run.epoch)}{planned}",
        f"step {_or_unknown(run.step)}",
        f"loss {value_text(run.loss)}",
        f"step time {value_text(run.step_s, 'seconds')}",
        f"wait {value_text(wait, 'percent')}",
        run.verdict or "",
        f"newest entry {duration_text(silent_s(run))} ago",
        *(f"! {one.text}" for one in run.alerts_now),
    ]
    return printable(f"run {run.name}: {run.doing or run.state}, {', '.join(one for one in facts if one)}")


def _or_unknown(value: int | None) -> str:
    return "?" if value is None else str(value)
