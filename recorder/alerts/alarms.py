"""When a rule counts as broken: after a time, and until it is clearly kept for a time."""

import dataclasses
from dataclasses import dataclass
from enum import Enum

from pylon.recorder.alerts.rules import Rule
from pylon.recorder.history import AlertRow

# More things than any machine has: a name that changes all the time must not fill the memory.
MOST_ALARMS = 512


class Turn(Enum):
    """What has changed."""

    BEGAN = "began"
    ENDED = "ended"


@dataclass(slots=True)
class Alarm:
    """One rule for one thing. A value at the edge does not turn it on and off: what is bad and what is clear,
    and for how long, are two things.

    Attributes:
        for_s: how long it must be bad before it begins.
        clear_s: how long it must be clear before it ends.
        since: since when it is bad; None: it is not.
        until: since when it is clear; None: it is not.
        on: whether it has begun, and not ended.
    """

    for_s: float
    clear_s: float
    since: float | None = None
    until: float | None = None
    on: bool = False

    def look(self, t: float, *, bad: bool, clear: bool) -> Turn | None:
        """Take what is seen at `t`; between bad and clear nothing changes."""
        if not self.on:
            self.since = (t if self.since is None else self.since) if bad else None
            if self.since is None or t - self.since < self.for_s:
                return None
            self.on, self.until = True, None
            return Turn.BEGAN
        self.until = (t if self.until is None else self.until) if clear else None
        if self.until is None or t - self.until < self.clear_s:
            return None
        self.on, self.since = False, None
        return Turn.ENDED


@dataclass(frozen=True, slots=True)
class Change:
    """An alert that began, or ended: then `row.until` is set. One that only happened did both."""

    row: AlertRow
    began: bool
    ended: bool


class Alarms:
    """The alarms of one launch, and what has changed.

    Args:
        launch: its number.
    """

    def __init__(self, launch: int) -> None:
        self._launch = launch
        self._alarms: dict[tuple[str, str], Alarm] = {}
        self._rows: dict[tuple[str, str], AlertRow] = {}
        self._changes: list[Change] = []

    def look(
        self,
        rule: Rule,
        subject: str,
        t: float,
        *,
        bad: bool,
        text: str,
        clear: bool | None = None,
        value: float | None = None,
        threshold: float | None = None,
    ) -> None:
        """Show the alarm of a rule and a thing what is seen; without `clear`, what is not bad is clear."""
        key = rule.name, subject
        alarm = self._alarms.get(key)
        if alarm is None:
            if not bad or len(self._alarms) >= MOST_ALARMS:
                return
            alarm = self._alarms[key] = Alarm(rule.for_s, rule.clear_s)
        turn = alarm.look(t, bad=bad, clear=not bad if clear is None else clear)
        if turn is Turn.BEGAN and alarm.since is not None:
            self._rows[key] = AlertRow(
                self._launch, rule.name, rule.severity, alarm.since, text, None, value, threshold
            )
            self._changes.append(Change(self._rows[key], began=True, ended=False))
        elif turn is Turn.ENDED:
            self._end(key, t if alarm.until is None else alarm.until)

    def happened(self, rule: Rule, t: float, text: str) -> None:
        """Add what has no duration."""
        row = AlertRow(self._launch, rule.name, rule.severity, t, text, t)
        self._changes.append(Change(row, began=True, ended=True))

    def end_all(self, t: float) -> None:
        """End every alert that is on."""
        for key in list(self._rows):
            self._end(key, t)

    def changes(self) -> list[Change]:
        """What has changed since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def _end(self, key: tuple[str, str], t: float) -> None:
        self._alarms.pop(key, None)
        row = self._rows.pop(key, None)
        if row is not None:
            row = dataclasses.replace(row, until=max(t, row.since))
            self._changes.append(Change(row, began=False, ended=True))
