"""Wait until all servers have answered, or cannot."""

import time
from collections.abc import Callable, Mapping, Sequence

from pylon.monitor.cli.signals import Signals
from pylon.monitor.status import Absence, GPUStatus
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.observation import Observation
from pylon.monitor.system import SystemMonitor, SystemSnapshot
from pylon.monitor.views.table import server_health

_LOOK_EVERY_S = 0.02

Answered = Callable[[SystemSnapshot, str], bool]


def wait_for_all(
    monitor: SystemMonitor, servers: Sequence[str], timeout_s: float, answered: Answered, signals: Signals
) -> list[str]:
    """Wait until `answered` holds of each server that may still answer; those of which it does not hold."""
    left = list(servers)
    until_s = time.monotonic() + timeout_s
    while not signals.number:
        snapshot = monitor.latest()
        left = [server for server in left if not answered(snapshot, server)]
        health = server_health(monitor.health()) if left else {}
        hopeless = {server for server, one in health.items() if _will_stay(one.last_error)}
        if not set(left) - hopeless or time.monotonic() > until_s:
            break
        time.sleep(_LOOK_EVERY_S)
    return left


def gpus_have_answered(seen: Observation[GPUStatus]) -> bool:
    """Whether the GPUs were read, and the processes on them, or cannot be."""
    status = seen.status
    if status is None or status.absence is Absence.STARTING:
        return False
    return all(gpu.absent.get("processes") is not Absence.STARTING for gpu in status.gpus)


def two_readings(first_s: Mapping[str, float]) -> Answered:
    """Whether a server was read twice, as rates need; its GPUs and further monitors, if any, once."""
    noted = dict(first_s)

    def answered(snapshot: SystemSnapshot, server: str) -> bool:
        cpu, gpu = snapshot.cpu.get(server), snapshot.gpu.get(server)
        if cpu is None or cpu.measured_s is None:
            return False
        others = (seen for by_server in snapshot.others.values() for seen in by_server.values())
        return (
            cpu.measured_s > noted.setdefault(server, cpu.measured_s)
            and (gpu is None or gpus_have_answered(gpu))
            and all(by_server for by_server in snapshot.others.values())
            and all(seen.status is not None for seen in others)
        )

    return answered


def _will_stay(failure: Failure | None) -> bool:
    """Whether a server has failed in a way that waiting does not fix."""
    from pylon.monitor import ssh  # noqa: PLC0415 - a look at this machine alone needs none of it

    found = None if failure is None else getattr(ssh, failure.kind, None)
    stays = found is not None and (found.permanent or found.lasting)
    return stays or (failure is not None and failure.kind == "MonitorSettingError")
