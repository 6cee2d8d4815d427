"""Where alerts go: into the record, the log, and out of the machine, one message per tick."""

import logging
from typing import Protocol

from pylon.masking import masked_text
from pylon.recorder.alerts.alarms import Change
from pylon.recorder.alerts.watching import Alerts
from pylon.recorder.history import AlertRow, HistoryWriter

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "critical": logging.ERROR}

logger = logging.getLogger(__name__)


class Sends(Protocol):
    """Takes messages, and never waits."""

    def send(self, text: str) -> None:
        """Take one."""


class AlertBook:
    """Writes down what the rules find.

    Args:
        alerts: the rules, which the recorder feeds.
        writer: of the record.
        notifier: takes messages for the outside; None: they stay on the machine.
    """

    def __init__(self, alerts: Alerts, writer: HistoryWriter, notifier: Sends | None = None) -> None:
        self.alerts = alerts
        self._writer = writer
        self._notifier = notifier
        self._numbers: dict[tuple[str, float, str], int] = {}

    def tick(self, t: float) -> list[AlertRow]:
        """Write, log and send what has changed since the last tick; those that began."""
        changes = self.alerts.tick(t)
        for change in changes:
            self._write(change)
            level = _LEVELS[change.row.severity] if change.began else logging.INFO
            logger.log(level, "%s", _sentence(change))
        if changes and self._notifier is not None:
            self._notifier.send("\n".join(_sentence(change) for change in changes))
        return [change.row for change in changes if change.began]

    def _write(self, change: Change) -> None:
        row = change.row
        key = row.rule, row.since, row.text
        detail = {"rule": row.rule, "severity": row.severity, "text": row.text}
        if change.began:
            self._numbers[key] = self._writer.alert_began(row)
            self._writer.mark(row.launch, row.since, "alert", detail)
        if change.ended and key in self._numbers and row.until is not None:
            self._writer.alert_ended(self._numbers.pop(key), row.until)
            if not change.began:
                self._writer.mark(row.launch, row.until, "alert_end", detail)


def _sentence(change: Change) -> str:
    text = masked_text(change.row.text)
    if change.began:
        return f"{change.row.rule} ({change.row.severity}): {text}"
    minutes = ((change.row.until or change.row.since) - change.row.since) / 60
    return f"{change.row.rule} is over after {minutes:.0f} min. It was: {text}"
