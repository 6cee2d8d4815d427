"""The last minutes of the figures that views draw, for servers whose readings no record keeps.

Memory is fixed by the number of series: one array of times for all, one array of values for each series.
"""

import math
from array import array
from collections.abc import Mapping, Sequence

from pylon.views.sources.servers import ServerNow

OF_HOST = ("cpu_utilization", "memory_used", "net_received", "net_sent", "disk_read", "disk_write")
OF_GPU = ("gpu_utilization", "gpu_memory_used", "gpu_temperature", "gpu_power")


class Trails:
    """Values of the last moments at which `add` was called.

    Args:
        points: how many moments are kept.
        most_series: how many series are kept; figures beyond that have no trail, see `left_out`.
    """

    def __init__(self, points: int = 300, most_series: int = 20_000) -> None:
        self._points, self._most = points, most_series
        self._times = array("d")
        self._series: dict[tuple[str, str, str], array[float]] = {}
        self.left_out = 0

    def add(self, now: float, servers: Sequence[ServerNow]) -> None:
        """Note the figures of one moment; what is not known is a gap.

        Args:
            now: Unix time.
            servers: all servers; of one that is missing, all is a gap.
        """
        values = _values(servers)
        # A GPU that is gone for as long as a trail is long is forgotten.
        for key in [key for key, one in self._series.items() if key not in values and _all_gaps(one)]:
            del self._series[key]
        self.left_out = 0
        for key in values:
            if key in self._series:
                continue
            if len(self._series) >= self._most:
                self.left_out += 1
                continue
            self._series[key] = array("d", [math.nan]) * len(self._times)
        self._times.append(now)
        for key, one in self._series.items():
            one.append(values.get(key, math.nan))
        if len(self._times) > self._points:
            del self._times[0]
            for one in self._series.values():
                del one[0]

    def times(self) -> Sequence[float]:
        """Unix times of the moments, from the oldest on."""
        return list(self._times)

    def values(self, server: str, name: str, device: str = "") -> list[float | None] | None:
        """Values at the times of `times`, None in a gap; None: there is no such trail.

        Args:
            server: its name.
            name: of OF_HOST or OF_GPU.
            device: UUID of a GPU; '' for the host.
        """
        found = self._series.get((server, device, name))
        return None if found is None else [None if math.isnan(one) else one for one in found]


def _values(servers: Sequence[ServerNow]) -> Mapping[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    for server in servers:
        for name in OF_HOST:
            value = server.figure(name).value
            found[server.name, "", name] = math.nan if value is None else float(value)
        for gpu in server.gpus:
            for name in OF_GPU:
                value = gpu.figure(name).value
                found[server.name, gpu.uuid, name] = math.nan if value is None else float(value)
    return found


def _all_gaps(values: Sequence[float]) -> bool:
    return all(math.isnan(one) for one in values)
