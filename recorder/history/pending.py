"""What is not yet written, bounded: while the disk is full, the newest is kept and the rest is counted."""

import dataclasses
from collections import Counter, deque
from typing import Any

from pylon.recorder.history.rows import SeriesKey

MOST_SAMPLES = 20_000
MOST_ROWS = 5_000
# Few, and what all else refers to.
_NEVER_DROPPED = frozenset({"launch", "ending"})


@dataclasses.dataclass(frozen=True, slots=True)
class PendingGap:
    """A row of `gap`, before its series has a number."""

    key: SeriesKey
    t: float
    until: float | None
    reason: str


class Pending:
    """Rows by table, in the order in which they came.

    Attributes:
        samples: time, figure and value of each reading.
        rows: table and row.
        last_losses: the newest loss of each launch.
        lost: how many of each were dropped.
    """

    def __init__(self) -> None:
        self.samples: deque[tuple[float, SeriesKey, float]] = deque()
        self.rows: deque[tuple[str, Any]] = deque()
        self.last_losses: dict[int, float] = {}
        self.lost: Counter[str] = Counter()

    def add(self, table: str, row: Any) -> None:  # noqa: ANN401 - one of the classes in rows.py
        """Add a row."""
        self.rows.append((table, row))
        if len(self.rows) > MOST_ROWS:
            self._drop_row()

    def add_samples(self, samples: list[tuple[float, SeriesKey, float]]) -> None:
        """Add readings."""
        self.samples.extend(samples)
        for _ in range(len(self.samples) - MOST_SAMPLES):
            self.samples.popleft()
            self.lost["samples"] += 1

    def clear(self) -> None:
        """Forget what is written."""
        self.samples.clear()
        self.rows.clear()
        self.last_losses.clear()
        self.lost.clear()

    def __bool__(self) -> bool:
        return bool(self.samples or self.rows or self.last_losses or self.lost)

    def _drop_row(self) -> None:
        for place, (table, _) in enumerate(self.rows):
            if table not in _NEVER_DROPPED:
                del self.rows[place]
                self.lost[table] += 1
                return


def values(row: Any) -> dict[str, Any]:  # noqa: ANN401 - one of the classes in rows.py
    """A row's fields by name."""
    return {name: getattr(row, name) for name in row.__slots__}
