"""The report as plain text: cause, advice, evidence, the last minutes, the verdict, alerts."""

from collections.abc import Iterable, Sequence

from pylon.monitor import printable
from pylon.recorder.history import AlertRow, EndingRow, LaunchRow, ProcessRow
from pylon.recorder.report.figures import Figure
from pylon.recorder.report.story import Story, Verdict, facts
from pylon.recorder.report.units import clock_text, duration_text, range_text, time_text, value_text
from pylon.recorder.report.words import SOURCES

_MOST_ALERTS = 12
_MOST_EARLIER = 8
_MOST_LINES = 30


def report_lines(story: Story) -> list[str]:
    """All lines; none holds a character that could control a terminal."""
    lines = [story.cause, story.advice, ""]
    lines += [f"{name:<10} {text}" for name, text in facts(story)]
    lines += _earlier(story)
    lines += _evidence(story)
    lines += _last_minutes(story)
    lines += verdict_lines(story.verdict)
    lines += _alerts(story)
    lines += _holders(story)
    lines += _quoted("Stacks while it hung", story.stacks)
    if story.ending is not None:
        for title, text in quoted_texts(story.ending):
            lines += _quoted(title, text)
    return [printable(line.expandtabs()) for line in lines]


def _earlier(story: Story) -> list[str]:
    shown = story.earlier[-_MOST_EARLIER:]
    if not shown:
        return []
    more = f" (the last {len(shown)} of {len(story.earlier)})" if len(shown) < len(story.earlier) else ""
    return ["", f"Earlier launches{more}", *(f"  {earlier_text(launch, end)}" for launch, end in shown)]


def earlier_text(launch: LaunchRow, ending: EndingRow | None) -> str:
    """One launch in a line."""
    began = f"{launch.id}  {time_text(launch.began_at)}"
    if ending is None:
        return f"{began}  its end was not recorded"
    lasted = duration_text(max(0.0, ending.at - launch.began_at))
    return f"{began}  {ending.state} after {lasted} ({ending.cause}, {ending.certainty.replace('_', ' ')})"


def _evidence(story: Story) -> list[str]:
    if story.ending is None:
        return []
    source = SOURCES.get(story.ending.source, story.ending.source)
    return ["", f"Evidence ({source})", *_points(story.evidence or ("none was recorded",))]


def _points(texts: Iterable[str]) -> list[str]:
    return [f"  - {' '.join(text.split())}" for text in texts]


def _last_minutes(story: Story) -> list[str]:
    if not story.figures:
        return ["", "No figure of the last minutes was recorded."]
    what = "Last minutes" if story.ending is None else f"Last minutes before {clock_text(story.end)}"
    return ["", *figure_lines(what, story.figures)]


def figure_lines(title: str, figures: Sequence[Figure]) -> list[str]:
    """A table: a line for each figure."""
    heads = (title, "10 min before", "last minute (least to greatest)", "newest")
    rows = [heads, *(_cells(figure) for figure in figures)]
    if all(figure.before is None for figure in figures):
        # A run of a few minutes has nothing before them.
        rows = [(row[0], *row[2:]) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if place == 0 else f"{cell:>{width}}"
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _cells(figure: Figure) -> tuple[str, ...]:
    unit = figure.unit
    name = f"  {figure.name}"
    before = value_text(figure.before, unit)
    if figure.last is None:
        return (name, before, figure.reason, "")
    newest = figure.reason if figure.newest is None else value_text(figure.newest, unit)
    return (name, before, range_text(figure.last, unit), newest)


def verdict_lines(verdict: Verdict | None) -> list[str]:
    """What held the run back; a line says so if that is not known."""
    if verdict is None:
        return ["", "What held it back: no verdict was recorded."]
    share = "" if verdict.share > 0.995 else f" for {verdict.share * 100:.0f} % of the time"
    lines = ["", f"What held it back: {verdict.title}{share}"]
    lines += _points(verdict.evidence)
    if verdict.advice:
        lines.append(f"  {verdict.advice}.")
    if verdict.step_s_if_cured is not None:
        lines.append(
            f"  Without it a step would take about {value_text(verdict.step_s_if_cured, 'seconds')}."
        )
    if verdict.runner_up:
        lines.append(f"  Next: {verdict.runner_up}")
    return lines


def _alerts(story: Story) -> list[str]:
    # That it ended is the first line already.
    alerts = [alert for alert in story.alerts if alert.rule != "died"]
    if not alerts:
        return []
    shown = alerts[-_MOST_ALERTS:]
    more = len(alerts) > len(shown)
    lines = ["", "Alerts" + (f" (the last {len(shown)} of {len(alerts)})" if more else "")]
    for alert in shown:
        lasted = alert_duration(alert, running=story.ending is None)
        lines.append(f"  {time_text(alert.since)[5:19]}  {alert.severity}: {alert.text} ({lasted})")
    return lines


def _holders(story: Story) -> list[str]:
    if not story.holders:
        return []
    return ["", "Processes that held memory at the end", *(f"  {holder_text(one)}" for one in story.holders)]


def holder_text(row: ProcessRow) -> str:
    """A process in a line: what it held, of what, and whose it is."""
    of = f"of GPU {row.device}" if row.device else "resident"
    whose = {"run": "of this run", "gpu": "another user of the GPU"}.get(row.role or "", "")
    parts = (f"pid {row.pid}", row.user and f"user {row.user}", whose)
    known = ", ".join(part for part in parts if part)
    return f"{value_text(row.memory_bytes, 'bytes'):>10} {of}: {row.command or '?'} ({known})"


def alert_duration(alert: AlertRow, *, running: bool) -> str:
    """How long an alert lasted."""
    if alert.until is None:
        return "still so" if running else "until the end"
    return duration_text(alert.until - alert.since)


def quoted_texts(ending: EndingRow) -> list[tuple[str, str | None]]:
    """Title and text of what the program wrote last; a traceback that is in these lines is not repeated."""
    lines, traceback = ending.last_lines or "", ending.traceback or ""
    repeated = traceback.strip() in lines
    return [("Traceback", None if repeated else traceback), ("Last lines of standard error", lines)]


def _quoted(title: str, text: str | None) -> list[str]:
    if not text or not text.strip():
        return []
    lines = text.rstrip().splitlines()
    more = f" (the last {_MOST_LINES} of {len(lines)})" if len(lines) > _MOST_LINES else ""
    return ["", title + more, *(f"  {line}" for line in lines[-_MOST_LINES:])]
