"""Columns: a name for filters and files, a title, and how a row's value is read and shown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from pylon.monitor import printable
from pylon.recorder.report.units import UNKNOWN

Row = TypeVar("Row")
Value = float | str | None

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_BINARY = ("B", "K", "M", "G", "T", "P")


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One column.

    Attributes:
        name: in filters, layouts and CSV files.
        title: its head.
        width: in cells, 0: what is left of the line.
        read: the value of a row; None: it is not known.
        unit: of the value, as in records; 'text' for texts.
        show: the value as it is shown, if that is not by its unit.
        aliases: other names in filters.
        wide: whether it is shown only if it is chosen, or on a line of more than 140 cells.
    """

    name: str
    title: str
    width: int
    read: Callable[[Row], Value]
    unit: str = "text"
    show: Callable[[Row], str] | None = None
    aliases: tuple[str, ...] = ()
    wide: bool = False

    @property
    def is_text(self) -> bool:
        """Whether its values are texts."""
        return self.unit == "text"

    def text(self, row: Row) -> str:
        """A row's value for people."""
        if self.show is not None:
            return printable(self.show(row))
        value = self.read(row)
        if value is None:
            return UNKNOWN
        return printable(value) if isinstance(value, str) else short(value, self.unit)


def named(columns: Sequence[Column[Row]], name: str) -> Column[Row] | None:
    """The column of a name or alias; None: there is none."""
    wanted = name.lower()
    return next((one for one in columns if wanted == one.name or wanted in one.aliases), None)


def short(value: float | None, unit: str) -> str:
    """A value in six cells: '85%', '12.3G', '1.2M/s', '0.134'."""
    if value is None:
        return UNKNOWN
    if not math.isfinite(value):
        return str(value)
    if unit in {"bytes", "bytes_per_second"}:
        return _bytes(value) + ("/s" if unit == "bytes_per_second" else "")
    if unit == "seconds":
        return f"{value:.3g} s" if value >= 1 else f"{value * 1000:.3g} ms"
    if unit == "hertz":
        return f"{value / 1e6:.0f}MHz"
    ends = {"percent": "%", "celsius": "C", "watts": "W"}
    return f"{value:.0f}{ends[unit]}" if unit in ends else _number(value)


def short_time(seconds: float | None) -> str:
    """A duration in six cells, in whole seconds: '5 s', '12m30s', '1h06m', '3d04h'."""
    if seconds is None:
        return UNKNOWN
    whole = round(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02d}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02d}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02d}h"


def _bytes(value: float) -> str:
    power = min(len(_BINARY) - 1, int(math.log2(value) // 10)) if value >= 1 else 0
    scaled = value / 1024**power
    return f"{scaled:.0f}{_BINARY[power]}" if power == 0 or scaled >= 100 else f"{scaled:.1f}{_BINARY[power]}"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e9:
        return f"{value:.0f}"
    return f"{value:.2e}" if abs(value) >= 1e6 or abs(value) < 1e-3 else f"{value:.4g}"
