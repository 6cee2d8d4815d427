"""The page of a comparison."""

from collections.abc import Sequence

from pylon.recorder.report.charts.line import View
from pylon.recorder.report.comparison.contender import Contender
from pylon.recorder.report.comparison.groups import Difference, groups_of
from pylon.recorder.report.comparison.text import HEADS, NOTHING, overview, shown_differences
from pylon.recorder.report.page.document import document
from pylon.recorder.report.page.markup import element, table, text


def comparison_page(contenders: Sequence[Contender], views: Sequence[View]) -> str:
    """The whole file."""
    title, head = comparison_parts(contenders)
    return document(title, head, [view.as_record() for view in views], "")


def comparison_parts(contenders: Sequence[Contender]) -> tuple[str, str]:
    """The title, and HTML above the charts."""
    title = f"{len(contenders)} runs compared"
    head = element("header", element("h1", text(title)), class_="finished")
    rows = [
        [text(cell) for cell in (f"{n} {overview(one)[0]}", *overview(one)[1:])]
        for n, one in enumerate(contenders, 1)
    ]
    head += "<h2>Runs</h2>" + table(HEADS, rows, "Over all launches of each run", texts=2)
    repeated = [group for group in groups_of(contenders) if len(group.members) > 1]
    if repeated:
        names = ", ".join(group.name for group in repeated)
        head += element("p", text(f"Drawn as one line each: {names}."), class_="note")
    head += _differences("Configuration", [one.configuration for one in contenders])
    head += _differences("Hardware", [one.hardware for one in contenders])
    head += _differences("Start", [one.start for one in contenders])
    return title, head


def _differences(title: str, tables: Sequence[dict[str, str]]) -> str:
    head = f"<h2>{text(title)}: what differs</h2>"
    known = shown_differences(tables)
    if not known:
        return head + element("p", text(NOTHING[title == "Configuration"].capitalize() + "."))
    names = ["Key", *(f"Run {number}" for number in range(1, len(tables) + 1))]
    rows = [[text(one.key), *_cells(one, len(tables))] for one in known]
    return head + table(names, rows, "Keys with the same value everywhere are left out", texts=len(names))


def _cells(difference: Difference, runs: int) -> list[str]:
    by_run = {run: value for value, members in difference.values for run in members}
    return [text("absent" if by_run[run] is None else by_run[run]) for run in range(runs)]
