"""The strip of events: epochs, validation, checkpoints, alerts, verdicts, and how the run began and ended."""

from collections.abc import Iterable, Sequence

from pylon.recorder.history import AlertRow, MarkRow, VerdictRow, detail_of
from pylon.recorder.report.charts.line import Event
from pylon.recorder.report.words import verdict_title

# A page draws no more of one kind.
_MOST_EVENTS = 1500
# No verdict is made while no step is; the one before still holds.
_PAUSE_S = 900.0
_SPANS = {"validation": "validation", "checkpoint": "save"}
# Marks that are drawn as curves, or that bound spans.
_ELSEWHERE = {"score", "learning_rate", "epoch", "alert", "alert_end", "verdict", "begin", "end"}


def lanes(
    marks: Sequence[MarkRow],
    alerts: Iterable[AlertRow],
    verdicts: Iterable[VerdictRow],
    span: tuple[float, float],
    last: Event | None,
) -> dict[str, tuple[Event, ...]]:
    """Everything that happened, by lane.

    Args:
        marks, alerts, verdicts: of the launch.
        span: begin and end of what is shown.
        last: how it ended; None while it goes on.
    """
    begin, end = span
    spans = {name: tuple(_thinned(list(_spans(marks, name, text, end)))) for name, text in _SPANS.items()}
    found = {
        "Run": (*_others(marks, begin), *((last,) if last else ())),
        "Epochs": tuple(_thinned(list(_epochs(marks, end)))),
        "Validation": spans["validation"],
        "Saves": spans["checkpoint"],
        "Alerts": tuple(_thinned([_alert(one, end) for one in alerts])),
        "Verdict": tuple(_thinned(list(_merged_verdicts(verdicts)))),
    }
    return {name: events for name, events in found.items() if events}


def _others(marks: Iterable[MarkRow], begin: float) -> list[Event]:
    events = [Event(begin, begin, "begin", "begin")]
    for mark in marks:
        if mark.kind in _ELSEWHERE or mark.kind.removesuffix("_begin").removesuffix("_end") in _SPANS:
            continue
        # The text of stacks has its own place.
        detail = (
            ""
            if mark.kind == "stack"
            else ", ".join(f"{name} {value}" for name, value in detail_of(mark).items() if value is not None)
        )
        text = mark.kind.replace("_", " ") + (f": {detail[:200]}" if detail else "")
        events.append(Event(mark.t, mark.t, "other", text))
    return _thinned(events)


def _epochs(marks: Iterable[MarkRow], end: float) -> Iterable[Event]:
    """From the mark of each epoch to the next."""
    begun: tuple[float, str] | None = None
    for mark in marks:
        if mark.kind != "epoch":
            continue
        if begun is not None:
            yield Event(begun[0], mark.t, "epoch", begun[1])
        number = detail_of(mark).get("epoch")
        begun = (mark.t, "epoch" if number is None else f"epoch {number}")
    if begun is not None:
        yield Event(begun[0], end, "epoch", begun[1])


def _spans(marks: Iterable[MarkRow], kind: str, text: str, end: float) -> Iterable[Event]:
    """From each `kind`_begin to its `kind`_end; one that never ended lasts until the end."""
    since: float | None = None
    for mark in marks:
        if mark.kind == f"{kind}_begin":
            if since is not None:
                yield Event(since, mark.t, kind, f"{text} without an end")
            since = mark.t
        elif mark.kind == f"{kind}_end" and since is not None:
            split = detail_of(mark).get("split")
            yield Event(since, mark.t, kind, split if isinstance(split, str) else text)
            since = None
    if since is not None:
        yield Event(since, end, kind, f"{text} without an end")


def _alert(row: AlertRow, end: float) -> Event:
    return Event(row.since, end if row.until is None else row.until, "alert", row.text or row.rule)


def _merged_verdicts(rows: Iterable[VerdictRow]) -> Iterable[Event]:
    """One event for rows of the same name that follow each other, a validation between them or not."""
    current: Event | None = None
    for row in rows:
        title = verdict_title(row.name).partition(":")[0]
        if current is not None and current.text == title and row.t <= current.until + _PAUSE_S:
            current = Event(current.at, row.t + row.width, "verdict", title)
            continue
        if current is not None:
            yield current
        current = Event(row.t, row.t + row.width, "verdict", title)
    if current is not None:
        yield current


def _thinned(events: list[Event]) -> list[Event]:
    every = -(-len(events) // _MOST_EVENTS) or 1
    return events[::every]
