"""What monitors that run under one supervisor have in common: start, health, stop."""

from abc import ABC, abstractmethod
from typing import Self

from pylon.monitor.process.client import MonitorClient
from pylon.monitor.process.messages import Companion, MonitorSpec
from pylon.monitor.settings import MonitorSettings
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.states import MonitorState


class RunningMonitors(ABC):
    """One monitor or several, in processes of their own under one supervisor.

    Args:
        settings: of the supervisor.
    """

    def __init__(self, settings: MonitorSettings) -> None:
        self._settings = settings
        self._client: MonitorClient | None = None
        self._companion: Companion | None = None

    def accompany(self, companion: Companion) -> None:
        """Have one more process started with the monitors, which sees their reports and the end of this one.

        Raises:
            RuntimeError: they were started already.
        """
        if self._client is not None:
            raise RuntimeError("accompany: the monitors have been started; call it before `start`.")
        self._companion = companion

    @abstractmethod
    def _monitor_specs(self) -> tuple[MonitorSpec, ...]:
        """What the supervisor is to run. Raises MonitorClassError if a class cannot run elsewhere."""

    @abstractmethod
    def _refresh(self) -> None:
        """Take up the newest reports; called in the client's thread."""

    def start(self) -> None:
        """Start the processes; returns at once. After `stop`, nothing is started again.

        Raises:
            MonitorClassError: a monitor's class or its arguments cannot be sent to its process.
        """
        if self._client is None:
            self._client = self._new_client()
        self._client.start()

    def stop(self) -> None:
        """End all processes within `join_timeout_s` + 0.5 s; from any thread, any number of times.

        `latest` goes on to show what was known last, which ages.
        """
        if self._client is not None:
            self._client.stop()

    @property
    def supervisor_pid(self) -> int | None:
        """Process id of the supervisor; None while there is none."""
        return None if self._client is None else self._client.supervisor_pid

    def __enter__(self) -> Self:
        """Started."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.stop()

    def _new_client(self) -> MonitorClient:
        return MonitorClient(self._monitor_specs(), self._settings, self._refresh, self._companion)

    def _health_of(self, name: str) -> MonitorHealth:
        """Of the monitor `name`; STOPPED if nothing was started."""
        return MonitorHealth(MonitorState.STOPPED) if self._client is None else self._client.health_of(name)
