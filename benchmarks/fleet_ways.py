"""Three ways to ask a server, compared: our channel, a command per tick, a login per tick."""

import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko
import psutil

from pylon.monitor.remote.connect_limiter import ConnectLimiter
from pylon.monitor.remote.connection import KeptConnection
from pylon.monitor.remote.far import FAR_COMMAND, RemoteStatuses
from pylon.monitor.remote.server import RemoteServer, Rhythm
from pylon.monitor.ssh import FarChannel, Resolver, ServerName, open_channel
from tests.monitor.ssh.fault_proxy import FaultProxy, Faults
from tests.monitor.ssh.sshd import Sshd

_FILES = "/proc/stat /proc/meminfo /proc/loadavg /proc/diskstats /proc/net/dev /proc/uptime"
_COMMAND = f"cat {_FILES}; uname -n"
_DELAY_S = 0.05
_DELAYED_SAMPLES = 4

Ask = Callable[[], object]


@dataclass(frozen=True)
class WayCost:
    """Of one sample.

    Attributes:
        cpu_ms, far_cpu_ms: CPU time here and there.
        far_forks: processes and threads that came into being there; None where it cannot be counted.
        round_trips: wall time over a slow link, in its round trips.
        received_bytes: from the server, encrypted.
    """

    name: str
    cpu_ms: float
    far_cpu_ms: float
    far_forks: float | None
    round_trips: float
    received_bytes: float


def compare_ways(root: Path, samples: int) -> list[WayCost]:
    """The cost of a sample in each way, on one real sshd."""
    counted = _can_count_forks()
    sshd = Sshd(root / "ways")
    if counted:
        wrapper = root / "sshd-in-a-namespace"
        wrapper.write_text(
            f'#!/bin/sh\nexec unshare --pid --fork --kill-child --mount-proc {sshd._sshd} "$@"\n'
        )
        wrapper.chmod(0o755)
        sshd._sshd = str(wrapper)
    with sshd:
        ways = {"one channel (ours)": _channel, "a command per tick": _commands, "a login per tick": _logins}
        return [_measured(name, way, sshd, samples, counted) for name, way in ways.items()]


def _measured(name: str, way: "Way", sshd: Sshd, samples: int, counted: bool) -> WayCost:
    with way(sshd, sshd.port) as ask:
        ask()
        ask()
        forks, far_s, near_s = _forks(sshd) if counted else 0, _far_cpu_s(sshd), _near_cpu_s()
        for _ in range(samples):
            ask()
        near_s, far_s = _near_cpu_s() - near_s, _far_cpu_s(sshd) - far_s
        # Counting takes a login of its own, which is subtracted.
        made = _forks(sshd) - forks - _forks_of_counting(sshd) if counted else None
    with FaultProxy(("127.0.0.1", sshd.port)) as proxy, way(sshd, proxy.port) as ask:
        ask()
        ask()
        passed = proxy.passed
        for _ in range(10):
            ask()
        received = (proxy.passed - passed) / 10
        proxy.faults = Faults(delay_s=_DELAY_S)
        ask()
        began_s = time.monotonic()
        for _ in range(_DELAYED_SAMPLES):
            ask()
        trips = (time.monotonic() - began_s) / _DELAYED_SAMPLES / (2 * _DELAY_S)
    return WayCost(
        name,
        1e3 * near_s / samples,
        1e3 * far_s / samples,
        None if made is None else made / samples,
        trips,
        received,
    )


Way = Callable[[Sshd, int], "contextmanager[Ask]"]


class _Dialer:
    def __init__(self, config: Path) -> None:
        self._settings = Resolver(config).resolve(ServerName.parse("127.0.0.1"))

    def dial(self) -> FarChannel:
        return open_channel(self._settings, FAR_COMMAND.encode())

    def user_has_acted(self, error: Exception) -> bool:  # noqa: ARG002 - see Dials
        return False


@contextmanager
def _channel(sshd: Sshd, port: int) -> Iterator[Ask]:
    connection = KeptConnection("far", _Dialer(_config(sshd, port)), ConnectLimiter(1, 1, 0.0))
    connection.start()
    try:
        yield RemoteServer("far", connection, Rhythm(1.0, 30.0, 10.0, gpu=True), RemoteStatuses(10)).read
    finally:
        connection.close()


@contextmanager
def _commands(sshd: Sshd, port: int) -> Iterator[Ask]:
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(_config(sshd, port)) + "_known_hosts")
        client.connect("127.0.0.1", port, sshd.user, key_filename=str(sshd.client_key), allow_agent=False)

        def ask() -> bytes:
            _, output, _ = client.exec_command(_COMMAND)
            content: bytes = output.read()
            return content

        yield ask


@contextmanager
def _logins(sshd: Sshd, port: int) -> Iterator[Ask]:
    command = ["ssh", "-F", str(_config(sshd, port)), "127.0.0.1", _COMMAND]
    yield lambda: subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _config(sshd: Sshd, port: int) -> Path:
    return sshd.client_config(
        sshd.root / f"config_{port}",
        extra=f"Port {port}",
        known_hosts=sshd.known_hosts([f"[127.0.0.1]:{port}"]),
    )


def _near_cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _far_cpu_s(sshd: Sshd) -> float:
    total = 0.0
    for one in [*map(psutil.Process, sshd.pids), *sshd.sessions()]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _can_count_forks() -> bool:
    """Whether a process may have a namespace of its own, in which the kernel counts for us."""
    if shutil.which("unshare") is None:
        return False
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "true"], capture_output=True, check=False
    )
    return done.returncode == 0


def _forks(sshd: Sshd) -> int:
    """The newest process id there."""
    command = [
        "ssh",
        "-F",
        str(_config(sshd, sshd.port)),
        "127.0.0.1",
        "read n < /proc/sys/kernel/ns_last_pid; echo $n",
    ]
    return int(subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL).stdout)


def _forks_of_counting(sshd: Sshd) -> int:
    first = _forks(sshd)
    return _forks(sshd) - first
