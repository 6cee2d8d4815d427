"""A record's next part, as entries for a logger: a pure function of the record and the position.

    windows of steps ─┐
    marks ────────────┼── by time, one step count over all launches ──> Scalars, Picture, End
    samples ──────────┘

A resumed launch repeats the steps since its last save, to the bit: what is sent of them already is left out.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pylon.recorder.history import EndingRow, History, LaunchRow, MarkRow, SeriesKey, StepWindow, detail_of
from pylon.recorder.report.charts.training import numbers_of
from pylon.recorder.report.conclusion import concluded, last_seen_of
from pylon.storage import parsed_json
from pylon.views.loggers.contract import End, Entry, Picture, Scalars
from pylon.views.loggers.position import Position

# Samples go out as the means of so many seconds: the record keeps such means for a day.
SAMPLES_EVERY_S = 10.0
# How much of the record is sent at once.
_PART_S = 150 * SAMPLES_EVERY_S
# The record gets an entry at most so long after its time.
_LATE_S = 4.0
# The last part reaches so far past the newest entry: sums of times are rounded.
_PAST_NEWEST_S = 0.001
# Old windows are merged into ones of this width.
_WIDEST_WINDOW_S = 600.0
_MOST_PICTURES = 32
# A launch without a written end has none before its recorder had time to write it.
_WRITTEN_WITHIN_S = 15.0
# Whether a run of another machine has ended is not seen: it has, if its record is silent for so long.
_SILENT_ELSEWHERE_S = 3600.0

_Event = tuple[float, StepWindow | MarkRow | dict[str, float]]


@dataclass(frozen=True, slots=True)
class Part:
    """Entries to send, and the position behind them; they may be none."""

    entries: tuple[Entry, ...]
    after: Position


def next_part(history: History, position: Position, now: float) -> Part | None:
    """What is to be sent next.

    Args:
        history: as it is now.
        position: up to where it was sent.
        now: Unix time.

    Returns:
        None: all of it is sent as far as the record goes.
    """
    launches = history.launches()
    if position.ended:
        following = [one for one in launches if (one.id or 0) > position.launch]
        if not following:
            return None
        first = following[0]
        position = replace(
            position, launch=first.id or 0, until=first.began_at, launch_step=None, ended=False
        )
    launch = next((one for one in launches if one.id == position.launch), None)
    if launch is None:
        return None
    later = [one for one in launches if (one.id or 0) > position.launch]
    newest = last_seen_of(history, launch, later)
    ending = ending_of(history, launch, later, now)
    if ending is not None and position.until > newest:
        return _end(history.path.parent, position, ending)
    until = _horizon(launch, position.until, newest, closed=ending is not None)
    return _part(history, position, until) if until > position.until else None


def ending_of(
    history: History, launch: LaunchRow, later: Sequence[LaunchRow], now: float
) -> EndingRow | None:
    """How a launch ended, as recorded or concluded; None while it may go on."""
    number = launch.id or 0
    written = history.ending(number)
    if written is not None:
        return written
    newest = last_seen_of(history, launch, later)
    if later:
        return EndingRow(number, newest, "unknown", "recorder_lost", "likely", "next reader")
    silent_s = now - newest
    if 0 <= silent_s < _WRITTEN_WITHIN_S:
        return None
    found = concluded(launch, newest, None)
    seen = found is None or found.certainty != "not_observable" or silent_s > _SILENT_ELSEWHERE_S
    return found if seen else None


def _horizon(launch: LaunchRow, since: float, newest: float, *, closed: bool) -> float:
    """Up to where the next part goes."""
    if closed:
        return min(since + _PART_S, newest + _PAST_NEWEST_S)
    complete = (newest - _LATE_S - launch.began_at) // SAMPLES_EVERY_S * SAMPLES_EVERY_S + launch.began_at
    return min(since + _PART_S, complete)


def _part(history: History, position: Position, until: float) -> Part:
    events: list[_Event] = [
        *_windows(history, position, until),
        *_marks(history, position, until),
        *_samples(history, position.until, until),
    ]
    entries: list[Entry] = []
    for t, event in sorted(events, key=lambda one: one[0]):
        if isinstance(event, StepWindow):
            values, position = _of_window(event, position)
        elif isinstance(event, MarkRow):
            values, position = _of_mark(event, position)
        else:
            values = event
        values = {name: value for name, value in values.items() if math.isfinite(value)}
        if values:
            position = replace(position, rows=position.rows + 1)
            entries.append(Scalars(position.rows, max(0, position.step), t, values))
    return Part(tuple(entries), replace(position, until=until))


def _windows(history: History, position: Position, until: float) -> Iterator[_Event]:
    # A window of steps that are partly sent may have been merged since.
    for window in history.windows(position.launch, position.until - _WIDEST_WINDOW_S, until):
        if position.until <= window.t + window.width < until:
            yield window.t + window.width, window


def _of_window(window: StepWindow, position: Position) -> tuple[dict[str, float], Position]:
    last = window.last_step
    if last is not None:
        repeated = position.launch_step is not None and last <= position.launch_step
        position = replace(position, launch_step=max(last, position.launch_step or 0))
        if repeated or last <= position.step:
            return {}, position
        position = replace(position, step=last)
    elif _is_behind(position):
        return {}, position
    found = {
        "train/loss": window.loss_mean,
        "train/step_seconds": window.step_mean,
        "train/wait_seconds": window.wait_mean,
        "train/epoch": window.epoch,
        "train/non_finite_losses": window.non_finite or None,
        "train/learning_rate": position.learning_rate,
    }
    values = {name: float(value) for name, value in found.items() if value is not None}
    return values, replace(position, learning_rate=None)


def _is_behind(position: Position) -> bool:
    """Whether the launch repeats what an earlier one has done."""
    return position.launch_step is not None and position.launch_step < position.step


def _marks(history: History, position: Position, until: float) -> Iterator[_Event]:
    for mark in sorted(history.marks(position.launch), key=lambda one: one.id or 0):
        if (mark.id or 0) <= position.mark:
            continue
        if mark.t >= until:
            return
        yield mark.t, mark


def _of_mark(mark: MarkRow, position: Position) -> tuple[dict[str, float], Position]:
    position = replace(position, mark=max(position.mark, mark.id or 0))
    if mark.kind not in {"learning_rate", "score"}:
        return {}, position
    detail = detail_of(mark)
    numbers = numbers_of(detail, mark.kind)
    if mark.kind == "learning_rate":
        # A resumed launch repeats it: it goes out with steps that are new.
        return {}, replace(position, learning_rate=next(iter(numbers.values()), None))
    epoch = detail.get("epoch")
    if type(epoch) is not int:
        return ({} if _is_behind(position) else _scores(numbers)), position
    new = {name: value for name, value in numbers.items() if epoch > position.scores.get(name, -1)}
    sent = position.scores | dict.fromkeys(new, epoch)
    return _scores(new), replace(position, scores=sent)


def _scores(numbers: dict[str, float]) -> dict[str, float]:
    return {f"score/{name}": value for name, value in numbers.items()}


def _samples(history: History, since: float, until: float) -> Iterator[_Event]:
    buckets = max(1, math.ceil((until - since) / SAMPLES_EVERY_S))
    by_time: dict[float, dict[str, float]] = {}
    for key in history.series():
        for sample in history.samples(key, since, since + buckets * SAMPLES_EVERY_S, buckets):
            by_time.setdefault(sample.t, {})[name_of(key)] = sample.mean
    for t, values in by_time.items():
        yield min(t + SAMPLES_EVERY_S, math.nextafter(until, -math.inf)), values


def name_of(key: SeriesKey) -> str:
    """The name of a figure in a logger: 'system/gpu_power/GPU-0a1b', 'system/load_1m/SERVER'."""
    server = "" if key.server == "localhost" else key.server
    return "/".join(part for part in ("system", key.name, server, key.device) if part)


def _end(folder: Path, position: Position, ending: EndingRow) -> Part:
    entries: list[Entry] = []
    rows, stamps = position.rows, dict(position.pictures)
    for name, path, stamp in _pictures(folder):
        if stamps.get(name) != stamp:
            rows += 1
            stamps[name] = stamp
            entries.append(Picture(rows, max(0, position.step), ending.at, name, str(path)))
    rows += 1
    entries.append(End(rows, max(0, position.step), ending.at, ending.state, ending.cause))
    return Part(tuple(entries), replace(position, rows=rows, pictures=stamps, ended=True))


def _pictures(folder: Path) -> Iterator[tuple[str, Path, str]]:
    """Name, file and stamp of what a run has drawn; a link may lead anywhere and is passed over."""
    for path in [folder / "curves.png", *sorted((folder / "predictions").glob("*.png"))[:_MOST_PICTURES]]:
        if path.is_symlink() or path.parent.is_symlink() or not path.is_file():
            continue
        status = path.stat()
        name = path.relative_to(folder).with_suffix("").as_posix()
        yield name, path.absolute(), f"{status.st_size}-{status.st_mtime_ns}"


def configuration_of(launch: LaunchRow) -> dict[str, Any]:
    """The configuration of a launch, as it is recorded."""
    try:
        found = parsed_json(launch.configuration) if launch.configuration else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {"configuration": found}
