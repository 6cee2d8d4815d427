"""Values, durations and times as people read them. What is unknown is '?', never 0."""

import datetime
import math

from pylon.recorder.history import Sample

UNKNOWN = "?"

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SUFFIXES = {"percent": " %", "watts": " W", "celsius": " °C", "count": "", "": ""}


def value_text(value: float | None, unit: str = "") -> str:
    """A value with its unit, of about four digits."""
    if value is None or not math.isfinite(value):
        return UNKNOWN if value is None else str(value)
    factor, suffix = _scale(abs(value), unit)
    return _digits(value * factor) + suffix


def range_text(sample: Sample, unit: str = "") -> str:
    """A mean with its least and greatest: '58.8 GiB (53.9 to 63.8)'; the mean alone if all are the same."""
    factor, suffix = _scale(max(abs(sample.min), abs(sample.max)), unit)
    low, mean, high = (_digits(value * factor) for value in (sample.min, sample.mean, sample.max))
    return f"{mean}{suffix}" if low == high else f"{mean}{suffix} ({low} to {high})"


def duration_text(seconds: float | None) -> str:
    """A duration: '3 d 4 h', '2 h 05 min', '3 min 20 s', '4.2 s'."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    total = round(seconds)
    if total < 3600:
        return f"{total // 60} min {total % 60:02d} s"
    if total < 86400:
        return f"{total // 3600} h {total % 3600 // 60:02d} min"
    return f"{total // 86400} d {total % 86400 // 3600} h"


def time_text(unix_s: float | None) -> str:
    """A time in this machine's zone: '2026-11-26 21:30:13 +0100'."""
    try:
        return UNKNOWN if unix_s is None else _local(unix_s).strftime("%Y-%m-%d %H:%M:%S %z")
    except (OverflowError, ValueError, OSError):
        return UNKNOWN


def clock_text(unix_s: float) -> str:
    """The time of the day alone, in this machine's zone."""
    return time_text(unix_s)[11:19]


def utc_text(unix_s: float) -> str:
    """ISO 8601 in UTC, as a page's `datetime` takes it."""
    try:
        return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def _local(unix_s: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC).astimezone()


def _scale(size: float, unit: str) -> tuple[float, str]:
    """What a value is multiplied by, and what follows it."""
    if unit in {"bytes", "bytes_per_second"}:
        fits = 1 <= size < math.inf
        power = min(len(_BINARY) - 1, int(math.log2(size) // 10)) if fits else 0
        return 1 / 1024**power, f" {_BINARY[power]}" + ("/s" if unit == "bytes_per_second" else "")
    if unit == "seconds":
        return (1e3, " ms") if size < 1 else (1.0, " s")
    if unit == "hertz":
        return (1e-6, " MHz") if size < 1e9 else (1e-9, " GHz")
    return 1.0, _SUFFIXES.get(unit, f" {unit}")


def _digits(value: float) -> str:
    if not math.isfinite(value):
        return str(value)
    if value != 0 and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2e}"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
