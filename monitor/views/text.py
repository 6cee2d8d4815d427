"""Values as people read them. What a server says of itself is not trusted: it may hold control characters."""

from collections.abc import Iterable

_GIB = 2**30


def percent(value: float | None) -> str:
    """A share, or ? where it is not known."""
    return "?" if value is None else f"{value:.0f} %"


def gib(value: int | None) -> str:
    """Bytes in GiB."""
    return "?" if value is None else f"{value / _GIB:.1f}"


def known_sum(values: Iterable[int | None]) -> int | None:
    """The sum; None if one of the values is not known, as it would be too small."""
    known = list(values)
    return None if None in known else sum(one for one in known if one is not None)


def number(value: float | None, digits: int = 0, unit: str = "") -> str:
    """A number with its unit."""
    return "?" if value is None else f"{value:.{digits}f}{unit}"


def seconds(value: float | None) -> str:
    """An age."""
    if value is None:
        return "-"
    if value < 10:
        return f"{value:.1f} s"
    return f"{value:.0f} s" if value < 120 else f"{value / 60:.0f} min"
