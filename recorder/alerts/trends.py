"""How figures move: when one reaches a limit, whether losses diverge, whether steps have become slow."""

import statistics
from collections import deque

_LEAST_POINTS = 10
# Of the spread of the values, how much a straight line must explain before it is believed.
_LEAST_FIT = 0.7


class Trend:
    """A straight line through the last minutes of a figure.

    Args:
        window_s: how far it looks back.
        points: how many values it keeps of that time.
    """

    def __init__(self, window_s: float, points: int = 60) -> None:
        self._window_s = window_s
        self._every_s = window_s / points
        self._points: deque[tuple[float, float]] = deque(maxlen=points)
        self.last: float | None = None

    def add(self, t: float, value: float) -> None:
        """Add a value; of those that follow quickly only some are kept."""
        self.last = value
        if not self._points or t >= self._points[-1][0] + self._every_s:
            self._points.append((t, value))
        while t - self._points[0][0] > self._window_s:
            self._points.popleft()

    def seconds_to(self, limit: float) -> float | None:
        """In how many seconds the figure reaches `limit`; None if it does not move there on a line."""
        if self.last is None or len(self._points) < _LEAST_POINTS:
            return None
        times, values = zip(*self._points, strict=True)
        if len(set(values)) == 1:
            return None
        line = statistics.linear_regression(times, values)
        if statistics.correlation(times, values) ** 2 < _LEAST_FIT or line.slope == 0:
            return None
        left_s = (limit - self.last) / line.slope
        return left_s if left_s > 0 else None


class LossTrend:
    """Whether losses have risen above where they began, by more than they scatter."""

    _FIRST_WINDOWS = 20
    _FAST, _SLOW = 0.2, 0.02

    def __init__(self) -> None:
        self._first: list[float] = []
        self._level = self._best = self._fast = self._slow = self._spread = 0.0

    def add(self, loss: float) -> None:
        """Add the mean loss of a window."""
        if len(self._first) < self._FIRST_WINDOWS:
            self._first.append(loss)
            self._level = self._best = self._fast = self._slow = statistics.fmean(self._first)
            self._spread = statistics.fmean(abs(one - self._level) for one in self._first)
            return
        self._fast += self._FAST * (loss - self._fast)
        # What scatters is measured while nothing diverges.
        if not self.diverges:
            self._spread += self._SLOW * (abs(loss - self._slow) - self._spread)
            self._slow += self._SLOW * (loss - self._slow)
            self._best = min(self._best, self._slow)

    @property
    def value(self) -> float:
        """The mean of the last few windows."""
        return self._fast

    @property
    def threshold(self) -> float:
        """Above this they diverge: the first level, and half of what was gained or five times the scatter."""
        return self._level + max(0.5 * (self._level - self._best), 5 * self._spread)

    @property
    def diverges(self) -> bool:
        """Whether they have risen above the threshold."""
        return len(self._first) == self._FIRST_WINDOWS and self._fast > self.threshold

    @property
    def is_clear(self) -> bool:
        """Whether they are back below where they began."""
        return self._fast < self._level


class StepTimes:
    """Step times by the minute, compared with the median of the half hour before."""

    _MINUTE_S = 60.0
    _LEAST_MINUTES = 3

    def __init__(self) -> None:
        self._minutes: deque[float] = deque(maxlen=30)
        self._since: float | None = None
        self._n, self._sum = 0, 0.0
        self.last: float | None = None
        self._warm = False

    def add(self, t: float, n: int, mean_s: float) -> None:
        """Add the steps of a window."""
        if self._since is None:
            self._since = t
        if t - self._since >= self._MINUTE_S and self._n:
            self._close(t)
        self._n += n
        self._sum += n * mean_s

    @property
    def usual(self) -> float | None:
        """The median; None before three minutes."""
        return statistics.median(self._minutes) if len(self._minutes) >= self._LEAST_MINUTES else None

    @property
    def ratio(self) -> float | None:
        """The last minute of the usual; None while either is unknown."""
        usual = self.usual
        return None if usual is None or self.last is None or usual <= 0 else self.last / usual

    def _close(self, t: float) -> None:
        mean = self._sum / self._n
        self._since, self._n, self._sum = t, 0, 0.0
        if not self._warm:
            # The first minute holds the warm-up.
            self._warm = True
            return
        self.last = mean
        ratio = self.ratio
        if ratio is None or ratio < 1.5:
            self._minutes.append(mean)
