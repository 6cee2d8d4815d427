"""What a monitor is: a class that says how one server is read, run in a process of its own."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar

from monitor.errors import MonitorClassError, MonitorSettingError
from monitor.health import MonitorHealth, monitor_health
from monitor.process.client import MonitorClient, Reports
from monitor.process.messages import MonitorSpec
from monitor.status import Absence, age_s

Status = TypeVar("Status")

STALE_INTERVALS = 3


@dataclass(frozen=True, slots=True)
class Observation(Generic[Status]):
    """One server's newest status, with its time and the reason where it cannot be relied on.

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
        """Why there is nothing current to show; None where there is."""
        age = self.age_s
        if age is None:
            return self.trouble or Absence.STARTING
        return (self.trouble or Absence.STALE) if age > self.stale_after_s else None

    @property
    def current(self) -> Status | None:
        """The status, if it is recent enough to be shown as the present one."""
        return self.status if self.absence is None else None


class BaseMonitor(ABC, Generic[Status]):
    """A monitor of one kind of resource. Subclass it and say how one server is read.

    `start` returns at once; `latest` and `health` are looks at memory and never wait; `stop` is
    bounded. The class is made a second time, with the same arguments, in its own process: there
    `_init_status_structures` is called once and `_update_single_server` for every reading. It may
    block, raise or crash there. So the class must stand in a module that can be imported, and its
    constructor must take what can be pickled and do no work.

    Args:
        interval_s: seconds between readings, above 0.
        timeout_s: how long one reading may take, above 0; beyond it the process is replaced.
        join_timeout_s: time that `stop` gives the process to end by itself, from 0 on.

    Raises:
        MonitorSettingError: an argument is out of range.
    """

    _made_with: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:  # noqa: ANN401 - any subclass's arguments
        """Note the arguments: the copy in the other process is made with them."""
        self = super().__new__(cls)
        self._made_with = (args, kwargs)
        return self

    def __init__(
        self, *, interval_s: float = 1.0, timeout_s: float = 5.0, join_timeout_s: float = 2.0
    ) -> None:
        check_positive("interval_s", interval_s)
        check_positive("timeout_s", timeout_s)
        check_not_negative("join_timeout_s", join_timeout_s)
        self.interval_s = interval_s
        self.timeout_s = timeout_s
        self.join_timeout_s = join_timeout_s
        self._client: MonitorClient | None = None

    @abstractmethod
    def _update_single_server(self, server: str) -> Status:
        """Read `server` once. Called in the monitor's process, in one thread per server."""

    def _init_status_structures(self) -> None:
        """Prepare what readings need. Called once in the monitor's process, before the first."""
        return

    def _get_servers_list(self) -> list[str]:
        """The servers to read."""
        return ["localhost"]

    def _close(self) -> None:
        """Let go of what readings held. Called in the monitor's process when it ends in order."""
        return

    def spec(self, name: str | None = None) -> MonitorSpec:
        """What another process needs to make this monitor again.

        Raises:
            MonitorClassError: the class cannot be imported there.
        """
        cls = type(self)
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            raise MonitorClassError(
                """Start the monitor process; returns at once. A stopped monitor is not started again."""
                "starting it must not run your script again. Move the class to the top level of a module."
            )
        args, kwargs = self._made_with
        return MonitorSpec(name or cls.__name__, cls.__module__, cls.__qualname__, args, kwargs)

    def start(self) -> None:
        """Start the monitor's process; returns at once. A monitor that was stopped is not started again."""
        if self._client is None:
            self._client = MonitorClient(
                (self.spec(),),
                interval_s=self.interval_s,
                timeout_s=self.timeout_s,
                join_timeout_s=self.join_timeout_s,
                on_reports=_ignore,
            )
        self._client.start()

    def latest(self) -> Mapping[str, Observation[Status]]:
        """Each server's newest observation; empty before the first report."""
        if self._client is None:
            return {}
        return observations(
            self._client.reports.get(type(self).__name__, {}), STALE_INTERVALS * self.interval_s
        )

    def health(self) -> MonitorHealth:
        """How the monitor itself is."""
        return monitor_health(self._client, type(self).__name__)

    def stop(self) -> None:
        """End the process within `join_timeout_s` + 0.5 s; from any thread, any number of times."""
        if self._client is not None:
            self._client.stop()

    def __enter__(self) -> Self:
        """Started."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.stop()


def observations(reports: Mapping[str, Any], stale_after_s: float) -> dict[str, Observation[Any]]:
    """Server reports as what a user sees."""
    return {
        server: Observation(
            report.status,
            report.success_s,
            stale_after_s,
            Absence.HUNG if report.busy_since_s else Absence.UNREACHABLE if report.failures else None,
        )
        for server, report in reports.items()
    }


def check_positive(name: str, value: float) -> None:
    """Raise MonitorSettingError where `value` is not a number above 0."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (math.isfinite(value) and value > 0)
    ):
        raise MonitorSettingError(f"{name}: {value!r}, expected a number above 0.")


def check_not_negative(name: str, value: float) -> None:
    """Raise MonitorSettingError where `value` is not a number from 0 on."""
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not (math.isfinite(value) and value >= 0)
    ):
        raise MonitorSettingError(f"{name}: {value!r}, expected a number from 0 on.")


def _ignore(_reports: Reports) -> None:
    return
