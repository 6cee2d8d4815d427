"""A metric: statistics of each datapoint as it comes, scores of each and of all at the end.

    update(outputs, target, idx) ── statistics ──> buffer ── get_buffer() ──> summarize() ──> scores

What is kept of a datapoint is not its scores but the counts they follow from, because the scores of
a dataset follow from the summed counts and not from the scores of its datapoints.
"""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import torch

from pylon.metrics.buffer import DatapointBuffer
from pylon.metrics.directions import Direction
from pylon.storage import write_json

Scores = dict[str, float | None]


class Summary(TypedDict):
    """What `summarize` returns and writes; None means undefined.

    Attributes:
        aggregated: each score over all datapoints together.
        per_datapoint: `idx`, ascending, and each score in the same order.
    """

    aggregated: Scores
    per_datapoint: dict[str, list[int] | list[float | None]]


@dataclass(frozen=True)
class Part:
    """What one of several processes has seen of a pass.

    Attributes:
        expected: indices of the datapoints that it expects, ascending.
        idx: of those that it has scored, ascending.
        statistics: of these, (N, ...) on the CPU; None for N = 0.
        states: what else the metric needs of the pass, picklable.
    """

    expected: list[int]
    idx: list[int]
    statistics: torch.Tensor | None
    states: Any = None


class BaseMetric(ABC):
    """Scores of one pass over a dataset, of each datapoint and of all together.

    A concrete metric defines three things: what it keeps of a datapoint (`_statistics`, additive over
    datapoints), how scores follow from that (`_scores`), and which way each is better (`directions`).
    """

    def __init__(self) -> None:
        self._buffer: DatapointBuffer[torch.Tensor] = DatapointBuffer()

    @property
    @abstractmethod
    def directions(self) -> Mapping[str, Direction]:
        """For every aggregated score, whether higher or lower is better."""

    @abstractmethod
    def _statistics(self, outputs: torch.Tensor, target: torch.Tensor, idx: Sequence[int]) -> torch.Tensor:
        """What is kept of each datapoint of a batch: (B, ...), of fixed size per datapoint."""

    @abstractmethod
    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        """The scores, (N,) each, of N statistics (N, ...); NaN if undefined."""

    def update(self, outputs: Any, target: Any, idx: Sequence[int]) -> None:  # noqa: ANN401 - any nested value
        """Add the datapoints of a batch: all of them, or none when the call is refused.

        Args:
            outputs: what the model gave for B datapoints, on any device: mostly (B, ...).
            target: what it should have given, on the same device.
            idx: the B datapoints' indices in their dataset.

        Raises:
            MetricBufferError: a datapoint was added before in this pass.
            ValueError: a shape or value is wrong.
        """
        with torch.no_grad():
            statistics: Any = self._statistics(outputs, target, idx)
        if not isinstance(statistics, torch.Tensor) or statistics.shape[:1] != (len(idx),):
            kind = f"a {type(statistics).__name__}"
            given = f"shape {tuple(statistics.shape)}" if isinstance(statistics, torch.Tensor) else kind
            raise ValueError(
                f"{type(self).__name__}._statistics gives {given} for {len(idx)} datapoints, expected a "
                f"tensor ({len(idx)}, ...), one row for each."
            )
        statistics = statistics.cpu()
        self._buffer.add(idx, list(statistics))

    def expect(self, idx: Iterable[int]) -> None:
        """Announce the datapoints of the pass, so that one without scores is noticed.

        Args:
            idx: their indices in their dataset; more may follow with the next call. Never called, the
                pass has those from 0 to the largest that was scored.
        """
        self._buffer.expect(idx)

    def part(self) -> Part:
        """What this one of several processes has seen of the pass: for `merge`."""
        entries = self._buffer.seen()
        statistics = torch.stack(list(entries.values())) if entries else None
        return Part(self._buffer.expected(), list(entries), statistics)

    def merge(self, parts: Sequence[Part]) -> None:
        """Take the datapoints of several processes in place of the own ones.

        Args:
            parts: what `part` gave in each of them; no datapoint is in two.

        Raises:
            MetricBufferError: a datapoint is in two parts.
        """
        self._buffer.clear()
        for part in parts:
            self._buffer.expect(part.expected)
            if part.statistics is not None:
                self._buffer.add(part.idx, list(part.statistics))

    def get_buffer(self, expected: int | None = None) -> dict[int, torch.Tensor]:
        """The statistics of each datapoint, ordered by index; a copy.

        Args:
            expected: number of datapoints that must be there, indices 0 to `expected` - 1.
                None: those that `expect` was given, else from 0 to the largest index so far.

        Raises:
            MetricBufferError: an index is missing or too large.
        """
        return self._buffer.get(expected)

    def summarize(
        self, buffer: Mapping[int, torch.Tensor] | None = None, output_path: Path | None = None
    ) -> Summary:
        """The scores of each datapoint and of all together.

        Args:
            buffer: what `get_buffer` gave, of this metric or of one like it; None: the own buffer.
                The order of its entries changes nothing.
            output_path: also write the result there as JSON, atomically; None: write nothing.

        Raises:
            MetricBufferError: a datapoint of the own buffer is missing.
            ValueError: there is no datapoint, or the class names other scores than it gives.
            OSError: `output_path` cannot be written.
        """
        entries = self._ordered(buffer)
        statistics = torch.stack(list(entries.values()))
        summary = Summary(
            aggregated=self._aggregated(statistics),
            per_datapoint={
                "idx": list(entries),
                **{name: _defined(values) for name, values in self._checked_scores(statistics).items()},
            },
        )
        if output_path is not None:
            write_json(output_path, summary)
        return summary

    def direction(self, score: str) -> Direction:
        """Which way `score` is better.

        Raises:
            ValueError: there is no score of this name.
        """
        if score not in self.directions:
            near = difflib.get_close_matches(score, self.directions, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"score: {score!r}, expected one of {sorted(self.directions)}.{hint}")
        return self.directions[score]

    def baselines(self, buffer: Mapping[int, torch.Tensor] | None = None) -> dict[str, Scores]:
        """By name, the aggregated scores of predictions that look at no input; none by default.

        Args:
            buffer: as in `summarize`.
        """
        del buffer
        return {}

    def reset(self) -> None:
        """Forget every datapoint, ready for the next pass."""
        self._buffer.clear()

    def _aggregated(self, statistics: torch.Tensor) -> Scores:
        """The scores of all datapoints together, from the statistics (N, ...) of each."""
        # float16 ends at 65504, and float32 counts no further than to 2**24.
        exact = torch.float64 if statistics.is_floating_point() else None
        aggregated = self._scores_of_one(statistics.sum(dim=0, dtype=exact))
        if set(aggregated) != set(self.directions):
            raise ValueError(
                f"{type(self).__name__}._scores gives {sorted(aggregated)}, but its directions have "
                f"{sorted(self.directions)}: name the same scores in both."
            )
        return aggregated

    def _scores_of_one(self, statistics: torch.Tensor) -> Scores:
        """The scores of one datapoint's statistics, or of their sum over several."""
        scores = self._checked_scores(statistics.unsqueeze(0))
        return {name: _defined(values)[0] for name, values in scores.items()}

    def _checked_scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        """What `_scores` gives. Raises ValueError if that is no tensor (N,) for each name."""
        scores: Any = self._scores(statistics)
        expected = f"expected a dict of tensors ({len(statistics)},), one value for each row of its argument"
        if not isinstance(scores, Mapping):
            raise ValueError(f"{type(self).__name__}._scores gives a {type(scores).__name__}, {expected}.")
        for name, values in scores.items():
            if not isinstance(values, torch.Tensor) or values.shape != (len(statistics),):
                given = tuple(values.shape) if isinstance(values, torch.Tensor) else type(values).__name__
                raise ValueError(f"{type(self).__name__}._scores gives {given} for {name!r}, {expected}.")
        return dict(scores)

    def _ordered(self, buffer: Mapping[int, torch.Tensor] | None) -> dict[int, torch.Tensor]:
        """The entries by index: so a sum of floats does not depend on the order of arrival either."""
        entries = self.get_buffer() if buffer is None else dict(sorted(buffer.items()))
        if not entries:
            raise ValueError("buffer: no datapoint in it, so there is nothing to score. Call update() first.")
        return entries


def _defined(values: torch.Tensor) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
