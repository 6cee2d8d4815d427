"""Steps of the training as windows of one refresh each, and when too long passes without one."""

import math
import statistics
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from pylon.recorder.channel import MarkRecord, StepRecord
from pylon.recorder.endings import Hang
from pylon.recorder.history import StepWindow

_STEPS_OF_MEDIAN = 200
_HANG_FACTOR = 10.0
_BEGIN, _END = "_begin", "_end"


class Steps:
    """The steps of one writer: of several that train together, the one with the lowest rank.

    Args:
        wall: monotonic seconds to the time of the record.
        hang_after_s: the least time without a step that is a hang; None: hangs are not looked for.

    Attributes:
        last_loss: of the step with the highest number that has reported one; None before that.
    """

    def __init__(self, wall: Callable[[float], float], hang_after_s: float | None) -> None:
        self._wall = wall
        self._hang_after_s = hang_after_s
        self._recent: deque[float] = deque(maxlen=_STEPS_OF_MEDIAN)
        self._last_s: float | None = None
        self._since_s: float | None = None
        self._epoch: int | None = None
        self._highest: int | None = None
        self._last_loss_of: int | None = None
        self.last_loss: float | None = None
        # What goes on that takes no steps: a validation, a save.
        self._pauses: dict[str, float] = {}

    def window(self, launch: int, records: Iterable[StepRecord], now_s: float) -> StepWindow | None:
        """The window of these steps and losses; None if there are none."""
        records = list(records)
        steps = [one for one in records if one.seconds is not None]
        taken = list(self._taken(records))
        self._note_loss(records)
        losses = [one.loss for one in records if one.loss is not None]
        begin_s, self._since_s = self._since_s, now_s
        if not taken and not losses:
            return None
        if steps:
            self._last_s = steps[-1].monotonic_s
            # The mark of an end may be lost: a step that has begun since shows that it is over.
            begun_s = self._last_s - (steps[-1].seconds or 0.0)
            self._pauses = {name: since_s for name, since_s in self._pauses.items() if since_s > begun_s}
            self._recent.extend(one.seconds for one in steps if one.seconds is not None)
            self._epoch = next((one.epoch for one in reversed(steps) if one.epoch is not None), self._epoch)
        first_s = steps[0].monotonic_s - (steps[0].seconds or 0.0) if steps else now_s
        begin_s = max(first_s, begin_s) if begin_s is not None else first_s
        finite = [one for one in losses if math.isfinite(one)]
        waits = [one.wait_s for one in steps if one.wait_s is not None]
        seconds = [one.seconds for one in steps if one.seconds is not None]
        return StepWindow(
            launch,
            self._wall(min(begin_s, now_s)),
            max(0.0, now_s - begin_s),
            len(steps),
            taken[0] if taken else None,
            taken[-1] if taken else None,
            self._epoch,
            *_extent(seconds),
            *_extent(waits),
            *_extent(finite),
            len(finite),
            len(losses) - len(finite) if losses else None,
        )

    def _taken(self, records: Iterable[StepRecord]) -> Iterator[int]:
        """The numbers of steps. One without a time is higher than all before, unlike a late loss."""
        for one in records:
            is_new = self._highest is None or one.number > self._highest
            self._highest = one.number if is_new else self._highest
            if is_new or one.seconds is not None:
                yield one.number

    def _note_loss(self, records: Iterable[StepRecord]) -> None:
        for one in records:
            if one.loss is not None and (self._last_loss_of is None or one.number >= self._last_loss_of):
                self._last_loss_of, self.last_loss = one.number, one.loss

    def note(self, marks: Iterable[MarkRecord]) -> None:
        """Follow what takes no steps and is no hang."""
        for one in marks:
            if one.kind.endswith(_BEGIN):
                self._pauses[one.kind.removesuffix(_BEGIN)] = one.monotonic_s
            elif one.kind.endswith(_END):
                self._pauses.pop(one.kind.removesuffix(_END), None)
                # What took long is over: the next step has its whole time.
                self._last_s = None if self._last_s is None else max(self._last_s, one.monotonic_s)

    def hang(self, now_s: float) -> Hang | None:
        """Whether no step has come for too long; before the first one it is not known what is too long."""
        if self._hang_after_s is None or self._last_s is None or self._pauses or not self._recent:
            return None
        median = statistics.median(self._recent)
        limit_s = max(self._hang_after_s, _HANG_FACTOR * median)
        for_s = now_s - self._last_s
        return Hang(for_s, limit_s, median) if for_s > limit_s else None


def _extent(values: list[float]) -> tuple[float | None, float | None, float | None]:
    if not values:
        return None, None, None
    return min(values), math.fsum(values) / len(values), max(values)
