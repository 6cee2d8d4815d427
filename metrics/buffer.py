"""What a metric remembers of one pass over a dataset: one entry per datapoint, keyed by its index."""

import operator
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar

Entry = TypeVar("Entry")

_NAMED_INDICES = 10


class MetricBufferError(ValueError):
    """A datapoint came twice or not at all: scores over such a buffer would be wrong."""


class DatapointBuffer(Generic[Entry]):
    """Entries by datapoint index, safe to fill from several threads.

    Entries may arrive in any order and from batches of any size. Memory grows with the number of
    datapoints only, so an entry should be small and of fixed size.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: dict[int, Entry] = {}
        self._expected: set[int] = set()

    def expect(self, idx: Iterable[int]) -> None:
        """Announce that these datapoints belong to the pass: without an entry for each, `get` refuses.

        Args:
            idx: index of each datapoint in its dataset; more may follow with the next call.
        """
        with self._lock:
            self._expected.update(map(operator.index, idx))

    def add(self, idx: Sequence[int], entries: Sequence[Entry]) -> None:
        """Add one entry per index: all of them, or none when the call is refused.

        Args:
            idx: index of each datapoint in its dataset, 0 or more.
            entries: as many entries, in the same order.

        Raises:
            MetricBufferError: an index comes twice in `idx`, or has an entry already.
            ValueError: lengths differ, or an index is negative.
            TypeError: an index is no integer.
        """
        if len(idx) != len(entries):
            raise ValueError(f"idx: {len(idx)} indices for {len(entries)} datapoints, expected one for each.")
        keys = [operator.index(key) for key in idx]
        negative = [key for key in keys if key < 0]
        if negative:
            raise ValueError(f"idx: {_named(negative)} negative; an index counts from 0 within its dataset.")
        repeated = [key for key, count in Counter(keys).items() if count > 1]
        with self._lock:
            repeated += [key for key in keys if key in self._entries]
            if not repeated:
                self._entries.update(zip(keys, entries, strict=True))
                return
        raise MetricBufferError(
            f"idx: {_named(repeated)} added twice. Each datapoint counts once in a pass: "
            "call reset() before the next pass, and look for a sampler that repeats datapoints."
        )

    def seen(self) -> dict[int, Entry]:
        """The entries so far, ordered by index, whether one is missing or not; a copy."""
        with self._lock:
            return dict(sorted(self._entries.items()))

    def expected(self) -> list[int]:
        """The datapoints that `expect` was given, ascending."""
        with self._lock:
            return sorted(self._expected)

    def get(self, expected: int | None = None) -> dict[int, Entry]:
        """The entries so far, ordered by index; a copy that later additions do not change.

        Args:
            expected: number of datapoints of the dataset: the indices must be exactly 0 to
                `expected` - 1. None: all that `expect` was given must be there, or where it was not
                called, 0 to the largest one. So a pass cut short counts as whole, but a datapoint lost on
                the way does not.

        Raises:
            MetricBufferError: an index is missing or too large.
        """
        entries, announced = self.seen(), self.expected()
        count = max(entries, default=-1) + 1 if expected is None else expected
        wanted = announced if announced and expected is None else range(count)
        missing = [key for key in wanted if key not in entries]
        if missing:
            of, why = f"the {len(announced)} of the pass", ""
            if wanted is not announced:
                of, why = f"0 to {count - 1}", ", or for a shuffled pass that was cut short"
            raise MetricBufferError(
                f"idx: {_named(missing)} missing of {of}. Score every datapoint of the pass: "
                f"look for a batch that was skipped{why}."
            )
        beyond = [key for key in entries if key >= count]
        if beyond:
            raise MetricBufferError(f"idx: {_named(beyond)} beyond the {count} expected datapoints.")
        return entries

    def clear(self) -> None:
        """Forget every entry, and what was expected."""
        with self._lock:
            self._entries.clear()
            self._expected.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)


def _named(indices: Iterable[int]) -> str:
    """The first few indices, sorted, and how many more there are."""
    ordered = sorted(set(indices))
    more = len(ordered) - _NAMED_INDICES
    text = ", ".join(map(str, ordered[:_NAMED_INDICES]))
    return f"{text} and {more} more" if more > 0 else text
