"""Other machines' statuses as what a user sees of them: the same two observations as of this one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pylon.monitor.status import CPUStatus, GPUStatus
from pylon.monitor.status.health import ServerReport
from pylon.monitor.status.observation import Observation, observations
from pylon.monitor.status.remote import RemoteStatus


@dataclass(frozen=True, slots=True)
class RemoteServers:
    """What is known of all other machines.

    Attributes:
        cpu, gpu: observations by server.
        same_machine: see SystemSnapshot.
    """

    cpu: dict[str, Observation[CPUStatus]] = field(default_factory=dict)
    gpu: dict[str, Observation[GPUStatus]] = field(default_factory=dict)
    same_machine: Mapping[str, str] = field(default_factory=dict)


class _Split(NamedTuple):
    report: ServerReport
    cpu: Observation[CPUStatus]
    gpu: Observation[GPUStatus]


class RemoteView:
    """Splits each server's status into what it says of processors and of GPUs.

    Args:
        servers: names, in the order in which they are shown.
        stale_after_s: see Observation.
        gpu: whether GPUs are watched.
    """

    def __init__(self, servers: Sequence[str], stale_after_s: float, *, gpu: bool) -> None:
        self._servers = tuple(servers)
        self._stale_after_s = stale_after_s
        self._gpu = gpu
        self._split: dict[str, _Split] = {}
        self._identities: dict[str, tuple[str, str]] = {}
        self._same_machine: dict[str, str] = {}

    def take(self, shards: Sequence[Mapping[str, ServerReport]]) -> RemoteServers:
        """What the newest reports of all processes come to. Work is done for servers that have changed."""
        changed_identity = False
        for reports in shards:
            for server, report in reports.items():
                former = self._split.get(server)
                if former is not None and former.report is report:
                    continue
                self._split[server] = self._halves(server, report)
                changed_identity |= self._note_identity(server, report.status)
        known = [server for server in self._servers if server in self._split]
        if changed_identity:
            self._same_machine = _twins(
                {one: self._identities[one] for one in known if one in self._identities}
            )
        return RemoteServers(
            {server: self._split[server].cpu for server in known},
            {server: self._split[server].gpu for server in known} if self._gpu else {},
            self._same_machine,
        )

    def _halves(self, server: str, report: ServerReport) -> _Split:
        seen: Observation[RemoteStatus] = observations({server: report}, self._stale_after_s)[server]
        # Until the first try has failed, a reading that waits for its connection is no reading that hangs.
        starting = report.status is None and not report.consecutive_failures
        seen_as = (seen.measured_s, seen.stale_after_s, None if starting else seen.trouble)
        status = seen.status
        return _Split(
            report,
            Observation(None if status is None else status.cpu, *seen_as),
            Observation(None if status is None else status.gpu, *seen_as),
        )

    def _note_identity(self, server: str, status: RemoteStatus | None) -> bool:
        if status is None or status.host_key is None or status.hostname is None:
            return False
        identity = (status.host_key, status.hostname)
        changed = self._identities.get(server) != identity
        self._identities[server] = identity
        return changed


def _twins(identities: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Of each server that is the same as an earlier one, the earlier one.

    Clones of one image share host keys, but no name.
    """
    first: dict[tuple[str, str], str] = {}
    return {
        server: first[identity]
        for server, identity in identities.items()
        if first.setdefault(identity, server) != server
    }
