"""A report in the forms that are asked for: text or JSON, page, pictures."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.recorder.history import History, HistoryError, open_history
from pylon.recorder.report.charts.line import View
from pylon.recorder.report.charts.run_view import run_view
from pylon.recorder.report.comparison.contender import Contender, buckets_for, read_contender
from pylon.recorder.report.comparison.page import comparison_page
from pylon.recorder.report.comparison.text import comparison_lines, comparison_record
from pylon.recorder.report.comparison.views import comparison_views
from pylon.recorder.report.errors import ReportError
from pylon.recorder.report.find import records_at
from pylon.recorder.report.page.run_page import run_page
from pylon.recorder.report.record import story_record
from pylon.recorder.report.story import read_story
from pylon.recorder.report.text import report_lines
from pylon.storage import write_text


@dataclass(frozen=True, slots=True)
class Report:
    """A report, gathered; each form of it is made when it is asked for.

    Attributes:
        lines: as text.
        record: for JSON.
        page: HTML.
        views: its charts.
        problems: what could not be read, a line for each.
        close: lets go of the record, when nothing more is asked for.
    """

    lines: Callable[[], list[str]]
    record: Callable[[], dict[str, Any]]
    page: Callable[[], str]
    views: Callable[[], Sequence[View]]
    problems: list[str] = field(default_factory=list)
    close: Callable[[], None] = lambda: None


def read_report(paths: Sequence[Path], launch: int | None = None) -> Report:
    """Read what a report is made of: of one launch or, if the paths lead to several records, of all of them.

    Args:
        paths: as a user gives them.
        launch: number of the launch from 1, of one record; None: the newest.

    Raises:
        ReportError: nothing can be shown.
        HistoryError: the only record cannot be read.
    """
    problems: list[str] = []
    # A record that is found in two ways is one, called as it was found first.
    by_file: dict[Path, Path] = {}
    for found in _records(paths, problems):
        by_file.setdefault(found.resolve(), found)
    records = list(by_file.values())
    if len(records) == 1:
        return _of_one(records[0], launch, problems)
    if launch is not None and records:
        raise ReportError(f"--launch {launch}: only for one record; these are {len(records)}")
    contenders = list(_contenders(records, problems))
    if not contenders:
        raise ReportError("\n".join(problems))
    views: list[View] = []

    def all_views() -> list[View]:
        if not views:
            views.extend(comparison_views(contenders))
        return views

    return Report(
        lines=lambda: comparison_lines(contenders),
        record=lambda: comparison_record(contenders),
        page=lambda: comparison_page(contenders, all_views()),
        views=all_views,
        problems=problems,
    )


def write_page(report: Report, path: Path) -> str:
    """Write the page; returns a line that names it.

    Raises:
        ReportError: it cannot be written.
    """
    page = report.page()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, page)
    except OSError as error:
        raise ReportError(f"--html {path}: cannot be written ({error.strerror or error})") from error
    return f"written: {path} ({len(page.encode('utf-8')) / 1e6:.2f} MB)"


def _of_one(path: Path, launch: int | None, problems: list[str]) -> Report:
    history: History = open_history(path)
    try:
        story = read_story(history, path, launch)
    except BaseException:
        history.close()
        raise
    return Report(
        lines=lambda: report_lines(story),
        record=lambda: story_record(story),
        page=lambda: run_page(story, run_view(history, story)),
        views=lambda: [run_view(history, story)],
        problems=problems,
        close=history.close,
    )


def _records(paths: Sequence[Path], problems: list[str]) -> Iterator[Path]:
    for path in paths:
        try:
            yield from records_at(path, problems)
        except ReportError as error:
            problems.append(str(error))


def _contenders(records: Sequence[Path], problems: list[str]) -> Iterator[Contender]:
    for path in records:
        try:
            yield read_contender(path, buckets_for(len(records)))
        except (ReportError, HistoryError) as error:
            problems.append(str(error))
