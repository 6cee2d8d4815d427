"""Samples by metric and labels, each series once, whatever names and values are found."""

import hashlib
import math
from collections.abc import Iterator, Mapping

from pylon.monitor import printable
from pylon.views.export.families import FAMILIES

_LONGEST_LABEL = 200
_DIGEST = 8

Samples = Mapping[tuple[str, ...], float]


class Filling:
    """The samples of one picture."""

    def __init__(self) -> None:
        self._samples: dict[str, dict[tuple[str, ...], float]] = {}

    def add(self, family: str, value: float | None, *labels: str) -> None:
        """Add a sample; an unknown or non-finite value is left out, and so is a second one of its labels.

        Args:
            family: of FAMILIES.
            value: in the unit of the family.
            labels: as `label` makes them, in the order of the family's.
        """
        number = _finite(value)
        if number is not None:
            self._samples.setdefault(family, {}).setdefault(labels, number)

    def __iter__(self) -> Iterator[tuple[str, Samples]]:
        """Families that have samples, in the order of FAMILIES."""
        return ((name, self._samples[name]) for name in FAMILIES if name in self._samples)


def label(text: str | None) -> str:
    """`text` as the value of a label: short, and without what controls a terminal or is no text.

    What was changed ends with a digest of the original: two names never become one.
    """
    if not text:
        return ""
    if text.isprintable() and len(text) <= _LONGEST_LABEL:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    return f"{printable(text)[: _LONGEST_LABEL - _DIGEST - 1]}#{digest}"


def _finite(value: float | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
