"""A host at the other end of an SSH connection, as its monitor sees it."""

from dataclasses import dataclass

from pylon.monitor.status.cpu import CPUStatus
from pylon.monitor.status.gpu import GPUStatus
from pylon.monitor.status.values import Scope, Side, measured


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """A server as its monitor last saw it: what a local monitor would report there, as far as possible.

    Samples carry the time at which they arrived here; rates are measured on the server's own clock.

    Attributes:
        cpu: its processors, memory, disks, network and, in a container, its control group.
        gpu: its GPUs, as nvidia-smi reports them; 'absence' and 'error' explain why there are none, or
            since when nvidia-smi does not answer.
        clock_offset_s: how far the server's wall clock is ahead of ours, accurate to half a round
            trip; None if it does not report its time.
        far_uptime_s: its monotonic clock: seconds since it was started; None without /proc.
        round_trip_s: from request to answer; None if the time of the request was not given.
        hostname, kernel: its own name, and 'Linux 6.8.0-45-generic x86_64'; None before the first
            answer that contains them.
        host_key: fingerprint of its SSH host key, "SHA256:...".
        side: always remote.
    """

    cpu: CPUStatus
    gpu: GPUStatus
    clock_offset_s: float | None = measured(Scope.HOST, None, remote="date")
    far_uptime_s: float | None = measured(Scope.HOST, None, remote="/proc/uptime")
    round_trip_s: float | None = None
    hostname: str | None = measured(
        Scope.HOST, None, remote="/proc/sys/kernel/hostname or uname -n", default=None
    )
    kernel: str | None = measured(Scope.HOST, None, remote="uname -srm", default=None)
    host_key: str | None = measured(Scope.HOST, None, remote="SSH key exchange", default=None)
    side: Side = Side.REMOTE
