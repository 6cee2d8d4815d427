"""What follows from the record while it is written: the verdict about once a minute, and alerts at once."""

from collections.abc import Callable, Sequence

from pylon.recorder.alerts import AlertBook, Alerts, Notifier
from pylon.recorder.history import EndingRow, HistoryWriter, MarkRow, SeriesKey, StepWindow
from pylon.recorder.verdict import LiveVerdict

_VERDICT_EVERY_S = 10.0
# The recorder outlives the run by 2 s at most.
_SEND_WITHIN_S = 0.8


class Observers:
    """Verdict and alerts of one launch.

    Args:
        launch: its number.
        writer: of the record.
        notify: addresses that alerts are sent to.
        title: of such a message.
    """

    def __init__(self, launch: int, writer: HistoryWriter, notify: Sequence[str], title: str) -> None:
        self._launch = launch
        self._writer = writer
        self._verdict = LiveVerdict(launch)
        self._verdict_name: str | None = None
        self._looked_t = 0.0
        self._alerts = Alerts(launch)
        self._notifier = Notifier(notify, title) if notify else None
        self._book = AlertBook(self._alerts, writer, self._notifier)

    def add_readings(self, t: float, readings: list[tuple[SeriesKey, float | None, str | None]]) -> None:
        """Follow readings that are written."""
        self._verdict.add_readings(t, readings)
        self._alerts.add_readings(t, readings)

    def add_window(self, row: StepWindow) -> None:
        """Follow a window of steps that is written."""
        self._verdict.add_window(row)
        self._alerts.add_window(row)

    def add_mark(self, row: MarkRow) -> None:
        """Follow a mark that is written, before the window and the readings of its tick."""
        self._verdict.add_mark(row)
        self._alerts.add_mark(row)

    def look(self, t: float, mark: Callable[[str, dict[str, str | None]], None]) -> None:
        """Write what is new; `mark` writes a mark of this moment."""
        if t - self._looked_t >= _VERDICT_EVERY_S:
            self._looked_t = t
            row = self._verdict.due(t)
            if row is not None:
                self._writer.verdict(row)
                self._alerts.add_verdict(row)
                if row.name != self._verdict_name:
                    mark("verdict", {"name": row.name, "before": self._verdict_name})
                    self._verdict_name = row.name
        self._book.tick(t)

    def end(self, row: EndingRow) -> None:
        """Follow the end, after it is written; what is still to be sent gets a moment."""
        self._alerts.ended(row)
        self._book.tick(row.at)
        self._writer.commit()
        if self._notifier is not None:
            self._notifier.close(_SEND_WITHIN_S)
