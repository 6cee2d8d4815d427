"""What a monitor is: a class that says how one server is read, run in a process of its own."""

import pickle
import pickletools
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Self, TypeVar

from pylon.monitor.errors import MonitorClassError
from pylon.monitor.limits import ResourceLimits
from pylon.monitor.process.messages import MonitorSpec
from pylon.monitor.running import RunningMonitors
from pylon.monitor.settings import MonitorSettings
from pylon.monitor.ssh.server_name import LOCALHOST
from pylon.monitor.status.health import MonitorHealth
from pylon.monitor.status.observation import STALE_INTERVALS, Observation, observations

Status = TypeVar("Status")


class BaseMonitor(RunningMonitors, Generic[Status]):
    """A monitor of one kind of resource. Subclass it and say how one server is read.

    `start` returns at once; `latest` and `health` are looks at memory and never wait; `stop` is
    bounded. The class is made a second time, with the same arguments, in its own process: there
    `_init_status_structures` is called once and `_update_single_server` for every reading. It may
    block, raise or crash there. So the class must be in a module that can be imported, and its
    constructor must take what can be pickled and do no work.

    A copy is inert: one that a fork has made (a DataLoader worker), a pickled or a deep one shows
    what was known when it was made, and neither stops nor reads the original's process.

    Args:
        interval_s: seconds between readings, above 0.
        timeout_s: how long one reading may take, above 0; beyond it the process is replaced.
        join_timeout_s: time that `stop` gives the process to end by itself, from 0 on.
        limits: what the process may use; None: the defaults of ResourceLimits.

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
        self,
        *,
        interval_s: float = 1.0,
        timeout_s: float = 5.0,
        join_timeout_s: float = 2.0,
        limits: ResourceLimits | None = None,
    ) -> None:
        settings = MonitorSettings(
            interval_s, timeout_s, join_timeout_s, ResourceLimits() if limits is None else limits
        )
        super().__init__(settings)
        self._observations: Mapping[str, Observation[Status]] = {}

    @property
    def interval_s(self) -> float:
        """Seconds between readings."""
        return self._settings.interval_s

    @property
    def timeout_s(self) -> float:
        """How long one reading may take."""
        return self._settings.timeout_s

    @property
    def join_timeout_s(self) -> float:
        """Time that `stop` gives the process to end by itself."""
        return self._settings.join_timeout_s

    @property
    def limits(self) -> ResourceLimits:
        """What the process may use."""
        return self._settings.limits

    @property
    def name(self) -> str:
        """What reports and health go by; unique among the monitors that run together."""
        return type(self).__name__

    @abstractmethod
    def _update_single_server(self, server: str) -> Status:
        """Read `server` once. Called in the monitor's process, in one thread per server."""

    def _init_status_structures(self) -> None:
        """Prepare what readings need. Called once in the monitor's process, before the first."""
        return

    def _get_servers_list(self) -> list[str]:
        """The servers to read."""
        return [LOCALHOST]

    def _spread_s(self, server: str) -> float:  # noqa: ARG002 - for those that have many servers
        """By how much the rhythm of this server is shifted, so that not all are read in one moment."""
        return 0.0

    def _set_released(self, released: bool) -> None:  # noqa: ARG002 - for those that hold a device
        """Let go of a device that others need for themselves, or take it up again.

        Called in the monitor's process, before the first reading and at each change.
        """
        return

    def _close(self) -> None:
        """Let go of what readings held. Called in the monitor's process when it ends in order."""
        return

    def spec(self) -> MonitorSpec:
        """What another process needs to make this monitor again.

        Raises:
            MonitorClassError: the class cannot be imported there, or its arguments not be sent.
        """
        cls = type(self)
        if cls.__module__ == "__main__" or "<locals>" in cls.__qualname__:
            raise MonitorClassError(
                f"{cls.__qualname__} is in {cls.__module__}, which the monitor's process cannot import:"
                " starting it must not run your script again. Move the class to the top level of a module."
            )
        try:
            arguments = pickle.dumps(self._made_with)
            if any(argument == "__main__" for _, argument, _ in pickletools.genops(arguments)):
                raise pickle.PicklingError("something in them is defined in __main__")
        except Exception as error:
            raise MonitorClassError(
                f"{cls.__qualname__}{self._made_with!r}: these arguments cannot be sent to the monitor's"
                f" process ({error}). Pass what can be pickled and open the rest in _init_status_structures."
            ) from error
        return MonitorSpec(
            self.name, cls.__module__, cls.__qualname__, arguments, self.interval_s, self.timeout_s
        )

    def latest(self) -> Mapping[str, Observation[Status]]:
        """Each server's newest observation, by server; empty before the first report."""
        return self._observations

    def health(self) -> MonitorHealth:
        """How the monitor itself is."""
        return self._health_of(self.name)

    def _monitor_specs(self) -> tuple[MonitorSpec, ...]:
        return (self.spec(),)

    def _refresh(self) -> None:
        if self._client is not None:
            reports = self._client.reports.get(self.name, {})
            self._observations = observations(reports, STALE_INTERVALS * self.interval_s)
