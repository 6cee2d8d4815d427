"""Which time is looked at: now, or a time that is paused, stepped, played and jumped to."""

import datetime
import re
import time
from dataclasses import dataclass

_FASTEST, _SLOWEST = 4096.0, 1.0
_SHARES = (1.0, 0.25, 0.0625, 0.015625)
_AMOUNT = re.compile(r"([+-]?)(\d+(?:\.\d+)?)\s*(s|min|m|h|d|%)", re.IGNORECASE)
_CLOCK = re.compile(r"(?:(\d{4})-(\d\d)-(\d\d)[ T])?(\d{1,2}):(\d\d)(?::(\d\d))?")
_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


class TimeError(ValueError):
    """A time that cannot be read."""


@dataclass
class Replay:
    """The time that a page shows.

    Attributes:
        first, last: of what is known.
        at: the time that is looked at; None: the newest, as it comes.
        speed: seconds of the past per second; 0 while paused.
        chosen_speed: that of the next playing.
        share: of the whole time that charts show.
    """

    first: float = 0.0
    last: float = 0.0
    at: float | None = None
    speed: float = 0.0
    chosen_speed: float = 16.0
    share: float = 1.0

    @property
    def now(self) -> float:
        """The time that is looked at."""
        return self.last if self.at is None else self.at

    @property
    def range(self) -> tuple[float, float]:
        """What charts show: all, or a part around the time that is looked at."""
        whole = max(self.last - self.first, 1.0)
        width = whole * self.share
        since = min(max(self.first, self.now - width / 2), self.first + whole - width)
        return since, since + width

    def know(self, first: float, last: float) -> None:
        """There is so much now."""
        self.first, self.last = first, last
        if self.at is not None:
            self.at = min(max(self.at, first), last)

    def toggle(self) -> None:
        """Pause what runs, play what is paused."""
        if self.at is None:
            self.at, self.speed = self.last, 0.0
        elif self.speed:
            self.speed = 0.0
        else:
            self.speed = self.chosen_speed
            self.at = self.first if self.at >= self.last else self.at

    def step(self, count: int) -> None:
        """Go on or back by hundredths of what is shown; that pauses."""
        since, until = self.range
        self._go(self.now + count * max(1.0, (until - since) / 100))

    def change_speed(self, factor: float) -> None:
        """Play faster or slower."""
        self.chosen_speed = min(_FASTEST, max(_SLOWEST, self.chosen_speed * factor))
        self.speed = self.chosen_speed if self.speed else 0.0

    def advance(self, seconds: float) -> None:
        """So much time has passed on the clock."""
        if self.at is not None and self.speed:
            self.at += self.speed * seconds
            if self.at >= self.last:
                self.at, self.speed = self.last, 0.0

    def go_live(self) -> None:
        """Show the newest, as it comes."""
        self.at, self.speed = None, 0.0

    def zoom(self, by: int) -> None:
        """Show a smaller or a larger part."""
        self.share = _SHARES[min(len(_SHARES) - 1, max(0, _SHARES.index(self.share) + by))]

    def jump(self, text: str) -> None:
        """Go to a time.

        Args:
            text: `14:05`, `2026-11-27 14:05:30`, `50%`, `10m` after the begin, `-10m` before the end,
                `start`, `end`, or `now` for the newest as it comes.

        Raises:
            TimeError: it is none of these.
        """
        word = text.strip().lower()
        if word in {"now", "live"}:
            self.go_live()
        elif word in {"start", "end"}:
            self._go(self.first if word == "start" else self.last)
        elif match := _AMOUNT.fullmatch(word):
            self._go(self._from_amount(match))
        elif match := _CLOCK.fullmatch(text.strip()):
            self._go(self._from_clock(match))
        else:
            raise TimeError(
                f"{text.strip()!r}, expected 14:05, 2026-11-27 14:05:30, 50%, 10m (after the begin), "
                "-10m (before the end), start, end or now"
            )

    def _from_amount(self, match: re.Match[str]) -> float:
        sign, amount, unit = match[1], float(match[2]), match[3]
        if unit == "%":
            return self.first + (self.last - self.first) * min(100.0, amount) / 100
        seconds = amount * _SECONDS[unit]
        return self.last - seconds if sign == "-" else self.first + seconds

    def _from_clock(self, match: re.Match[str]) -> float:
        """Without a date: of the last day that is known."""
        year, month, day, hour, minute, second = (None if one is None else int(one) for one in match.groups())
        there = time.localtime(self.last)
        date = (year, month, day) if year else there[:3]
        try:
            moment = datetime.datetime(*date, hour, minute, second or 0)  # type: ignore[arg-type]
            found = moment.astimezone().timestamp()
        except (ValueError, OverflowError) as error:
            raise TimeError(f"{match[0]!r} is no time of a day") from error
        return found - 86400 if not year and found > self.last + 1 and found - 86400 >= self.first else found

    def _go(self, to: float) -> None:
        self.at, self.speed = min(max(to, self.first), self.last), 0.0
