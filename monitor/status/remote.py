"""A host at the other end of an SSH connection, as its monitor sees it."""

from dataclasses import dataclass

from pylon.monitor.status.cpu import CPUStatus
from pylon.monitor.status.gpu import GPUStatus


@dataclass(frozen=True, slots=True)
class RemoteStatus:
    """A server as its monitor last saw it: what a local monitor would say there, as far as can be had.

    Samples carry the time at which they came in here; rates are of the server's own clock.

    Attributes:
        cpu: its processors, memory, disks, network and, in a container, its control group.
        gpu: its GPUs, as nvidia-smi tells them; 'absence' and 'error' say why there are none, or
            since when nvidia-smi does not answer.
        clock_offset_s: how far the server's wall clock is ahead of ours, give or take half a round
            trip; None where it does not tell its time.
        far_uptime_s: its monotonic clock: seconds since it was started; None without /proc.
        round_trip_s: from request to answer; None where the time of the request was not given.
        hostname, kernel: its own name, and 'Linux 6.8.0-45-generic x86_64'; None before the first
            answer that tells them.
        host_key: fingerprint of its SSH host key, "SHA256:...".
    """

    cpu: CPUStatus
    gpu: GPUStatus
    clock_offset_s: float | None
    far_uptime_s: float | None
    round_trip_s: float | None = None
    hostname: str | None = None
    kernel: str | None = None
    host_key: str | None = None
