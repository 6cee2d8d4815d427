"""What a user sees of one server: its newest status, how old it is, and whether it can be relied on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pylon.monitor.status import Absence, Reading, age_s, origins
from pylon.monitor.status.health import ServerReport

Status = TypeVar("Status")

# Age from which a status is not current any more, in intervals.
STALE_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Observation(Generic[Status]):
    """One server's newest status, with its time and the reason if it cannot be relied on.

    Attributes:
        status: the newest that was read; None before the first. It stays when readings fail.
        measured_s: monotonic time of the reading; None before the first.
        stale_after_s: age from which it is not current any more.
        trouble: why there is no newer one, as far as is known.
    """

    status: Status | None
    measured_s: float | None
    stale_after_s: float
    trouble: Absence | None = None

    @property
    def age_s(self) -> float | None:
        """Seconds since the reading; None before the first."""
        return None if self.measured_s is None else age_s(self.measured_s)

    @property
    def absence(self) -> Absence | None:
        """Why there is nothing current to show; None if there is."""
        age = self.age_s
        if age is None:
            return self.trouble or Absence.STARTING
        return (self.trouble or Absence.STALE) if age > self.stale_after_s else None

    @property
    def current(self) -> Status | None:
        """The status, if it is recent enough to be shown as the present one."""
        return self.status if self.absence is None else None

    def reading(self, path: str) -> Reading:
        """One value with its age, its origin and the reason if it is absent.

        Args:
            path: from the status to the value, such as 'sample.cpu_percent' or 'gpus.0.power_w'.

        Raises:
            AttributeError: the status has no such field.
        """
        holder: Any = None
        value: Any = self.current
        if value is None:
            return Reading(None, self.age_s, None, self.absence or Absence.UNSUPPORTED)
        name, *rest = path.split(".")
        holder, value = value, _step(value, name)
        while rest and value is not None:
            name, *rest = rest
            holder, value = value, _step(value, name)
        absence = _why_absent(holder, name, walked=not rest) if value is None else None
        return Reading(value, self.age_s, origins(holder).get(name), absence)


def _why_absent(holder: Any, name: str, *, walked: bool) -> Absence | None:  # noqa: ANN401 - any sample
    reasons: dict[str, Absence] | None = getattr(holder, "absent", None)
    # If a sample keeps reasons, None without one is the answer itself: there is no limit, for one.
    answered = walked and reasons is not None
    return (reasons or {}).get(name, None if answered else Absence.UNSUPPORTED)


def _step(value: Any, name: str) -> Any:  # noqa: ANN401 - any field of any status
    if isinstance(value, list | tuple):
        if not name.isdecimal():
            raise AttributeError(f"{name!r}, expected the number of one of {len(value)}")
        return value[int(name)] if int(name) < len(value) else None
    return value.get(name) if isinstance(value, dict) else getattr(value, name)


def observations(reports: Mapping[str, ServerReport], stale_after_s: float) -> dict[str, Observation[Any]]:
    """Server reports as what a user sees."""
    return {
        server: Observation(report.status, report.success_s, stale_after_s, _trouble(report))
        for server, report in reports.items()
    }


def _trouble(report: ServerReport) -> Absence | None:
    if report.busy_since_s is not None:
        return Absence.HUNG
    return Absence.UNREACHABLE if report.consecutive_failures else None
