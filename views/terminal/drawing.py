"""The whole screen as lines."""

import textwrap
import time

from pylon.monitor import printable
from pylon.recorder.report.units import duration_text
from pylon.views.terminal.columns import short
from pylon.views.terminal.desk import Desk
from pylon.views.terminal.keys import HELP
from pylon.views.terminal.listing import Cell, Line
from pylon.views.terminal.text import as_ascii, fitted

_KEYS = "? help  q end  Enter page  / filter  s sort  r reverse  c columns  e CSV  w save"
_MOST_OF_A_TEXT = 6
_PAGE_KEYS = "Esc back  space pause/play  [ ] step  +- speed  g go to  zZ part  n now  ? help"


def screen(desk: Desk) -> list[Line]:
    """As many lines as the screen has, each as wide as it is."""
    width, height = desk.size
    body = _body(desk, width, height - 3)
    foot = _foot(desk, width)
    lines = [*_head(desk, width), *body][: max(0, height - len(foot))]
    lines += [()] * (height - len(foot) - len(lines)) + foot
    return [_fitted(line, width, desk.ascii_only) for line in lines[:height]]


def _fitted(line: Line, width: int, ascii_only: bool) -> Line:
    """A line is one cell that fills it, or several of which the last one fills what is left."""
    cells, left = [], width
    for place, cell in enumerate(line or (Cell(""),)):
        last = place == len(line) - 1 or not line
        text = fitted(cell.text, left if last else min(left, len(cell.text)))
        cells.append(Cell(as_ascii(text) if ascii_only else text, cell.kind))
        left -= len(text)
    return tuple(cells)


def _head(desk: Desk, width: int) -> list[Line]:
    shown = desk.picture
    if not shown.at:
        return [(Cell("pylon watch  reading ..."),), _tabs(desk, width)]
    bad = sum(one.state not in {"ok", "starting"} for one in shown.servers)
    gpus = sum(len(one.gpus) for one in shown.servers)
    parts = [
        _count(len(shown.servers), "server") + (f" ({bad} not ok)" if bad else ""),
        _count(gpus, "GPU"),
    ]
    alerts = sum(one.holds for one in desk.listings["alerts"].rows)
    left_out = f" (and {shown.runs.left_out} older)" if shown.runs.left_out else ""
    parts += [_count(len(shown.runs.runs), "run") + left_out] if shown.runs.runs else []
    parts += [f"! {_count(alerts, 'alert')}"] if alerts else []
    clock = time.strftime("%H:%M:%S", time.localtime(shown.at))
    text = f"{clock}{' [paused]' if desk.paused else ''}  {', '.join(parts)}  {_newest_run(desk)}"
    return [(Cell(fitted(text, width)),), _tabs(desk, width)]


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _newest_run(desk: Desk) -> str:
    """The run that goes on, next to the fleet."""
    run = next(iter(desk.picture.runs.runs), None)
    if run is None:
        return ""
    if run.ending is not None:
        return f"| {printable(run.name)}: {run.state}"
    planned = "" if run.epochs is None else f"/{run.epochs}"
    left = run.end_expected_at - time.time() if run.end_expected_at is not None else None
    facts = [
        f"epoch {'?' if run.epoch is None else run.epoch}{planned}",
        f"step {'?' if run.step is None else run.step}",
        f"loss {short(run.loss, '')}",
        f"ETA {duration_text(left)}" if left is not None and left > 0 else "",
    ]
    return f"| {printable(run.name)}: {' '.join(one for one in facts if one)}"


def _tabs(desk: Desk, width: int) -> Line:
    parts = []
    for number, listing in enumerate(desk.listings.values()):
        count = f"{len(listing.rows)}" + (f"/{listing.total}" if listing.filter_text else "")
        text = f"{number + 1} {listing.title} {count}"
        parts.append(f"[{text}]" if number == desk.pane else f" {text} ")
    return (Cell(fitted(" ".join(parts), width), "head"),)


def _body(desk: Desk, width: int, height: int) -> list[Line]:
    if desk.help:
        return [(Cell(line),) for line in HELP.split("\n")]
    if desk.choosing is not None:
        return _choice(desk, desk.choosing, width, height)
    if desk.page is not None:
        return desk.page.lines(desk.picture, width, height, ascii_only=desk.ascii_only)
    listing = desk.listing
    if not listing.rows:
        return [listing.head(width), (Cell(f"  {_why_empty(desk)}", "dim"),)]
    rows = range(listing.top, min(len(listing.rows), listing.top + desk.height))
    lines = [listing.head(width), *(listing.line(place, width) for place in rows)]
    return lines + [()] * (desk.height + 1 - len(lines)) + _below(desk, width)


def _below(desk: Desk, width: int) -> list[Line]:
    """Runs and alerts below another list, if there is room."""
    lines: list[Line] = []
    for name, count in desk.below.items():
        listing = desk.listings[name]
        lines.append((Cell(f"{listing.title}  {len(listing.rows)}", "head"),))
        lines += [listing.plain_line(place, width) for place in range(count - 1)]
    return lines


def _why_empty(desk: Desk) -> str:
    listing = desk.listing
    if listing.filter_text:
        return f"none of {listing.total} fits the filter; Esc clears it"
    if not desk.picture.at:
        return "reading ..."
    if listing.title == "Runs" and desk.picture.runs.problems:
        return printable(desk.picture.runs.problems[0])
    return {
        "Runs": "no runs: name run directories or folders of runs, as in pylon watch logs",
        "Alerts": "nothing is wrong that is known",
        "GPUs": "no GPU is known",
    }.get(listing.title, "none is known")


def _choice(desk: Desk, at: int, width: int, height: int) -> list[Line]:
    listing = desk.listing
    shown = {column.name for column in listing.columns if listing.is_wanted(column, width)}
    lines: list[Line] = [(Cell("Columns: space shows or hides, Esc ends", "head"),)]
    top = max(0, at - height + 3)
    for number, column in enumerate(listing.columns[top:], top):
        mark = "x" if column.name in shown else " "
        text = f"{'>' if number == at else ' '} [{mark}] {column.name:12} {column.title}"
        lines.append((Cell(fitted(text, width), "cursor" if number == at else ""),))
    return lines


def _foot(desk: Desk, width: int) -> list[Line]:
    """The keys, or the line that is typed, with what is wrong with it above, or a note."""
    if desk.prompt is not None:
        typed = printable(desk.prompt.line("_"))
        return [
            *_wrapped(f"! {desk.prompt.problem}" if desk.prompt.problem else "", width),
            (Cell(typed[-width:]),),
        ]
    if note := desk.note_now():
        return _wrapped(note, width)
    found = desk.listing.filter_text if desk.page is None else ""
    mark = f"filter {printable(found)} (Esc clears it)  " if found else ""
    return [(Cell(mark + (_PAGE_KEYS if desk.page is not None else _KEYS), "" if found else "dim"),)]


def _wrapped(text: str, width: int) -> list[Line]:
    """A text that must be read to its end, in as many lines as it needs, up to some."""
    kind = "bad" if text.startswith("!") else ""
    return [(Cell(line, kind),) for line in textwrap.wrap(printable(text), max(1, width))[:_MOST_OF_A_TEXT]]
