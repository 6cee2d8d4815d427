"""Sending a record to one logger until all of it is there.

    history.sqlite ── next_part ──> loggers/NAME.json ── link ──> the logger
                  has the entries from before they are sent until the logger has them

A logger that fails costs time alone: the next attempt continues with the entries that it did not confirm.
"""

import logging
import math
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from pylon.masking import masked_text, secret_values
from pylon.recorder.history import HistoryAbsentError, HistoryError, LaunchRow, open_history
from pylon.storage import parsed_json
from pylon.views.loggers.contract import LoggerError, Run
from pylon.views.loggers.entries import Part, configuration_of, ending_of, next_part
from pylon.views.loggers.link import Link, LinkError
from pylon.views.loggers.position import Sending, read_sending, target_of, write_sending

_LOOK_EVERY_S = 5.0
# Reading a long record takes a while, most of it to copy the file: the pause is so many times as long.
_IDLE_FACTOR = 30.0
# The program's end is noticed within so much.
_NOTICE_S = 1.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 120.0
# A logger that confirms by closing is closed so often, and its entries are kept for so long.
_SESSION_S = 600.0
_SESSION_ENTRIES = 20_000

logger = logging.getLogger(__name__)


class Outcome(Enum):
    """How sending has ended."""

    SENT = "all is sent"
    LEFT = "something is left to be sent"


@dataclass(frozen=True, slots=True)
class Wishes:
    """How long to send.

    Attributes:
        follow: wait for more while the run goes on.
        runs: whether the program that is followed runs, which may not be in the record yet.
        since: it begins its launch at this time or later.
        patience_s: how long a failing logger is tried: at all, or when followed, since the run's end.
        stopped: whether a signal has asked to end; waits at most so many seconds for it.
    """

    follow: bool
    runs: Callable[[], bool]
    patience_s: float
    stopped: Callable[[float], bool]
    since: float = math.inf


class Forward:
    """Sends one record to one logger.

    Args:
        record: the history file.
        name: of the logger, for messages and files.
        target: the logger's arguments: with others, the record is sent again from its begin.
        link: to the logger's process.
        by_closing: the logger's CONFIRMS_BY_CLOSING.
        wishes: how long to send.
    """

    def __init__(
        self, record: Path, name: str, target: dict[str, Any], link: Link, wishes: Wishes, *, by_closing: bool
    ) -> None:
        self._record = record
        self._name = name
        self._target = target_of(target)
        self._secrets = secret_values(target)
        self._link = link
        self._wishes = wishes
        self._by_closing = by_closing
        self._place = place_of(record, name)
        self._sending: Sending | None = None
        self._launch: LaunchRow | None = None
        self._is_open = False
        self._opened_s = 0.0
        self._read_s = 0.0
        self._problem: str | None = None
        self._hopeless_since_s: float | None = None

    def run(self) -> Outcome:
        """Send until all is sent and nothing more comes, or patience or a signal ends it.

        Raises:
            LoggerError: it cannot be sent at all; the text has the reason.
            HistoryError: the record cannot be read.
            OSError: the position cannot be written.
        """
        pause_s = _FIRST_PAUSE_S
        try:
            while not self._wishes.stopped(0.0):
                # Asked before the record is read: what has ended has written all that there is.
                runs = self._wishes.runs()
                try:
                    if not self._send_all():
                        continue
                    if not self._wishes.follow or (self._ended and (not runs or self._has_launch)):
                        self._close()
                        return Outcome.SENT
                except LinkError as error:
                    if self._gives_up(error, pause_s):
                        return Outcome.LEFT
                    self._wait(pause_s, while_runs=runs)
                    pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
                    continue
                except HistoryAbsentError:
                    if not runs:
                        raise
                self._works()
                pause_s = _FIRST_PAUSE_S
                self._wait(max(_LOOK_EVERY_S, _IDLE_FACTOR * self._read_s), while_runs=runs)
            return self._stopped()
        finally:
            self._link.kill()

    @property
    def rows(self) -> int:
        """How many entries the logger has."""
        return 0 if self._sending is None else self._sending.position.rows

    @property
    def problem(self) -> str | None:
        """Why something is left to be sent."""
        return self._problem

    @property
    def _has_launch(self) -> bool:
        """Whether the launch is in the record that the sender was started for."""
        return self._launch is not None and self._launch.began_at >= self._wishes.since

    @property
    def _ended(self) -> bool:
        return self._sending is not None and (self._sending.after or self._sending.position).ended

    def _send_all(self) -> bool:
        """Send what is in the record now; False: a request to stop came first."""
        began_s = time.monotonic()
        with open_history(self._record) as history:
            self._read_s = time.monotonic() - began_s
            launches = history.launches()
            if not launches:
                return True
            self._launch = launches[-1]
            if self._sending is None:
                self._sending = read_sending(self._place, self._target, launches[0].began_at)
            sending = self._sending
            if sending.entries and not self._is_open:
                self._open(sending)
            while not self._wishes.stopped(0.0):
                part = next_part(history, sending.after or sending.position, time.time())
                if part is None:
                    return True
                self._send(sending, part)
        return False

    def _wait(self, seconds: float, *, while_runs: bool) -> None:
        """Wait for so long, or until a request to stop, or while the program runs."""
        until_s = time.monotonic() + seconds
        while (left_s := until_s - time.monotonic()) > 0 and not self._wishes.stopped(min(_NOTICE_S, left_s)):
            if while_runs and not self._wishes.runs():
                return

    def _send(self, sending: Sending, part: Part) -> None:
        if not part.entries:
            if sending.entries:
                sending.after = part.after
            else:
                sending.position = part.after
            return
        if self._is_open and self._session_is_long(sending):
            self._close()
        if not self._is_open:
            self._open(sending)
        sending.entries += part.entries
        sending.after = part.after
        write_sending(self._place, sending)
        self._take(sending, self._link.send(part.entries, again=False))

    def _session_is_long(self, sending: Sending) -> bool:
        lasts_s = time.monotonic() - self._opened_s
        return self._by_closing and (lasts_s > _SESSION_S or len(sending.entries) > _SESSION_ENTRIES)

    def _open(self, sending: Sending) -> None:
        # The run's id first: whatever ends this process, the next one has it.
        write_sending(self._place, sending)
        sending.kept = self._link.open(self._run_of(sending), sending.kept)
        self._is_open, self._opened_s = True, time.monotonic()
        write_sending(self._place, sending)
        if sending.entries:
            self._take(sending, self._link.send(sending.entries, again=True))

    def _take(self, sending: Sending, kept: dict[str, Any]) -> None:
        """Note that the logger has the entries, unless it says so in closing alone."""
        sending.kept = kept
        if not self._by_closing:
            self._confirm(sending)

    def _confirm(self, sending: Sending) -> None:
        if sending.after is not None:
            sending.position, sending.after, sending.entries = sending.after, None, ()
        write_sending(self._place, sending)

    def _close(self) -> None:
        if self._is_open and self._sending is not None:
            self._sending.kept = self._link.close()
            self._is_open = False
            self._confirm(self._sending)

    def _run_of(self, sending: Sending) -> Run:
        launch = self._launch
        if launch is None:
            return Run(sending.position.id, self._record.parent.name, self._record.parent)
        about = {"host": launch.host, "command": _words(launch.command), "python": launch.python}
        return Run(
            sending.position.id,
            launch.name or self._record.parent.name,
            self._record.parent,
            configuration_of(launch),
            {name: text for name, text in about.items() if text},
        )

    def _gives_up(self, error: LinkError, pause_s: float) -> bool:
        """Note a failure; whether it was the last one."""
        self._link.kill()
        self._is_open = False
        text = masked_text(str(error), self._secrets)
        if error.permanent:
            raise LoggerError(f"{self._name}: {text}") from error
        now_s = time.monotonic()
        if text != self._problem:
            logger.warning("%s: not sent yet: %s. The next attempt is in %.0f s", self._name, text, pause_s)
        self._problem = text
        if not self._is_over():
            self._hopeless_since_s = None
            return False
        self._hopeless_since_s = self._hopeless_since_s or now_s
        return now_s + pause_s - self._hopeless_since_s > self._wishes.patience_s

    def _is_over(self) -> bool:
        """Whether nothing more will be in the record."""
        if not self._wishes.follow:
            return True
        if self._wishes.runs():
            return False
        try:
            with open_history(self._record) as history:
                launches = history.launches()
                return not launches or ending_of(history, launches[-1], [], time.time()) is not None
        except HistoryError:
            return True

    def _works(self) -> None:
        if self._problem is not None:
            logger.info("%s: takes entries again", self._name)
        self._problem = self._hopeless_since_s = None

    def _stopped(self) -> Outcome:
        try:
            self._close()
        except LinkError as error:
            self._problem = masked_text(str(error), self._secrets)
        self._problem = self._problem or "it was asked to stop"
        return Outcome.LEFT


def place_of(record: Path, name: str) -> Path:
    """The file that keeps how far a record is sent."""
    return record.parent / "loggers" / f"{name}.json"


def _words(command: str | None) -> str | None:
    try:
        return None if command is None else shlex.join(parsed_json(command))
    except (ValueError, TypeError):
        return command
