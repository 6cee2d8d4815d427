"""The settings of every monitor, checked in one place."""

import math
from dataclasses import dataclass, field

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.limits import ResourceLimits


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """The settings that all monitors have in common.

    Attributes:
        interval_s: seconds between readings, above 0.
        timeout_s: how long one reading may take, above 0.
        join_timeout_s: time that `stop` gives the processes to end by themselves, from 0 on.
        limits: what each process may use.

    Raises:
        MonitorSettingError: one is out of range; the text names it and the value given.
    """

    interval_s: float = 1.0
    timeout_s: float = 5.0
    join_timeout_s: float = 2.0
    limits: ResourceLimits = field(default_factory=ResourceLimits)

    def __post_init__(self) -> None:
        """Check all."""
        require_above_zero("interval_s", self.interval_s)
        require_above_zero("timeout_s", self.timeout_s)
        if not (_is_number(self.join_timeout_s) and self.join_timeout_s >= 0):
            raise MonitorSettingError(
                f"join_timeout_s: {self.join_timeout_s!r}, expected a number from 0 on."
            )
        if not isinstance(self.limits, ResourceLimits):
            raise MonitorSettingError(f"limits: {self.limits!r}, expected ResourceLimits or None.")


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """The settings of monitors that keep statistics and read costly figures more rarely.

    Attributes:
        window_size: readings that statistics go over, a whole number from 1 on.
        slow_interval_s: seconds between readings of what costs more or changes rarely, above 0.

    Raises:
        MonitorSettingError: one is out of range; the text names it and the value given.
    """

    window_size: int = 10
    slow_interval_s: float = 10.0

    def __post_init__(self) -> None:
        """Check both."""
        require_count("window_size", self.window_size)
        require_above_zero("slow_interval_s", self.slow_interval_s)


def require_above_zero(name: str, value: object) -> None:
    """Raise MonitorSettingError if `value` is not a number above 0."""
    if not (_is_number(value) and value > 0):  # type: ignore[operator]  # a number, as checked
        raise MonitorSettingError(f"{name}: {value!r}, expected a number above 0.")


def require_count(name: str, value: object) -> None:
    """Raise MonitorSettingError if `value` is not a whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise MonitorSettingError(f"{name}: {value!r}, expected a whole number from 1 on.")


def require_boolean(name: str, value: object) -> bool:
    """`value`. Raises MonitorSettingError if it is neither True nor False."""
    if not isinstance(value, bool):
        raise MonitorSettingError(f"{name}: {value!r}, expected True or False.")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
