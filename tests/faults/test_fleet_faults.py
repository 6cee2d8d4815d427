"""One server of many misbehaves: what health says, that it recovers by itself, and that no other notices.

The healthy servers are judged by the times of their samples, as they reach the user's side: had one
reading waited for another server, they would show a gap of that server's time limit.
"""

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pylon.monitor import Absence, ServerHealth, SystemMonitor
from tests.faults.harness import wait_until
from tests.monitor.ssh.fault_proxy import FaultProxy, Faults
from tests.monitor.ssh.scripted_server import Behaviour, serving
from tests.monitor.ssh.sshd import Sshd, many_addresses

pytestmark = pytest.mark.ci

INTERVAL_S = 0.5
TIMEOUT_S = 1.0
HEALTHY = ("h1", "h2", "h3", "h4")
VICTIM = "victim"
# A loaded machine delays a sample by this and more; a victim that held others up would cost them 15 s.
LONGEST_GAP_S = 4.0


class Watched:
    """A running monitor of the healthy servers and the victim, and the times of all samples."""

    def __init__(self, config: Path, servers: tuple[str, ...] = (*HEALTHY, VICTIM)) -> None:
        self.monitor = SystemMonitor(servers, INTERVAL_S, TIMEOUT_S, ssh_config=config)
        self.times: dict[str, list[float]] = {server: [] for server in servers}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._note)

    def __enter__(self) -> "Watched":
        self.monitor.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.monitor.stop()

    def health(self, server: str = VICTIM) -> ServerHealth | None:
        return self.monitor.health()["RemoteMonitor-0"].servers.get(server)

    def kind(self, server: str = VICTIM) -> str | None:
        """Kind of the server's newest failure; None where readings succeed."""
        health = self.health(server)
        return None if health is None or health.last_error is None else health.last_error.kind

    def absence(self) -> Absence | None:
        seen = self.monitor.latest().cpu.get(VICTIM)
        return Absence.STARTING if seen is None else seen.absence

    def wait_for_all(self) -> None:
        wait_until(lambda: all(len(one) >= 2 for one in self.times.values()), 60, "all servers are read")

    def wait_for_kind(self, *kinds: str, within_s: float) -> None:
        wait_until(lambda: self.kind() in kinds, within_s, f"{kinds} in place of {self.health()}")

    def wait_for_recovery(self, within_s: float) -> None:
        count = len(self.times[VICTIM])
        wait_until(
            lambda: len(self.times[VICTIM]) >= count + 2 and self.absence() is None,
            within_s,
            f"recovery; {self.health()}",
        )

    def assert_others_did_not_notice(self) -> None:
        """No gap in the samples of healthy servers, and still the same process."""
        now = time.monotonic()
        for server in HEALTHY:
            times = [*self.times[server], now]
            gap_s = max(later - former for former, later in itertools.pairwise(times))
            assert gap_s < LONGEST_GAP_S, f"{server}: {gap_s:.1f} s without a sample"
        assert self.monitor.health()["RemoteMonitor-0"].restarts == 0

    def _note(self) -> None:
        while not self._ended.wait(0.05):
            for server, seen in self.monitor.latest().cpu.items():
                times = self.times[server]
                if seen.measured_s is not None and (not times or seen.measured_s > times[-1]):
                    times.append(seen.measured_s)


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """An sshd that plays the healthy servers."""
    with Sshd(tmp_path_factory.mktemp("healthy"), addresses=many_addresses(len(HEALTHY), first=11)) as sshd:
        yield sshd


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Sshd]:
    """The victim's own sshd."""
    with Sshd(tmp_path / "victim") as sshd:
        yield sshd


@pytest.fixture
def proxy(victim: Sshd) -> Iterator[FaultProxy]:
    """The way to the victim."""
    with FaultProxy(("127.0.0.1", victim.port)) as way:
        yield way


def config_for(healthy: Sshd, folder: Path, port: int, key: Path, known: str) -> Path:
    """An ssh_config of all servers; the victim is at `port`."""
    aliases = dict(zip(HEALTHY, healthy.addresses, strict=True))
    known_file = folder / "victim_known_hosts"
    known_file.write_text(known)
    return healthy.client_config(
        folder / "ssh_config",
        hosts=aliases,
        extra=f"Host {VICTIM}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {key}\n"
        f"  UserKnownHostsFile {known_file}\n",
    )


def known_at(victim: Sshd, port: int) -> str:
    return victim.known_hosts([f"[127.0.0.1]:{port}"])


@pytest.fixture
def watched(healthy: Sshd, victim: Sshd, proxy: FaultProxy, tmp_path: Path) -> Iterator[Watched]:
    """All servers read, the victim through the proxy."""
    known = known_at(victim, proxy.port)
    with Watched(config_for(healthy, tmp_path, proxy.port, victim.client_key, known)) as all_servers:
        all_servers.wait_for_all()
        yield all_servers


Hurt = Callable[[FaultProxy, Sshd], object]


@pytest.mark.parametrize(
    ("hurt", "mend", "kinds", "told_within_s", "well_within_s"),
    [
        pytest.param(
            lambda proxy, sshd: setattr(proxy, "faults", Faults(hole=True)),
            lambda proxy, sshd: proxy.heal(),
            {"NoAnswerError"},
            5,
            5,
            id="black hole",
        ),
        pytest.param(
            lambda proxy, sshd: setattr(proxy, "faults", Faults(bytes_per_s=1)),
            lambda proxy, sshd: (proxy.heal(), proxy.reset()),
            {"NoAnswerError"},
            5,
            20,
            id="one byte a second",
        ),
        pytest.param(
            lambda proxy, sshd: proxy.reset(),
            lambda proxy, sshd: None,
            {"ConnectionClosedError", None},
            5,
            10,
            id="reset",
        ),
        pytest.param(
            lambda proxy, sshd: setattr(proxy, "faults", Faults(cut_after=1)),
            lambda proxy, sshd: proxy.heal(),
            {"ConnectionClosedError"},
            5,
            40,
            id="cut within a frame, and each connection after it",
        ),
        pytest.param(
            lambda proxy, sshd: proxy.half_open(),
            lambda proxy, sshd: proxy.heal(),
            {"NoAnswerError"},
            5,
            30,
            id="half open",
        ),
        pytest.param(
            lambda proxy, sshd: sshd.freeze(),
            lambda proxy, sshd: sshd.thaw(),
            {"NoAnswerError"},
            5,
            5,
            id="sshd stopped",
        ),
        pytest.param(
            lambda proxy, sshd: sshd.stop(),
            lambda proxy, sshd: sshd.start(),
            {"ConnectionClosedError", "UnreachableError"},
            5,
            40,
            id="sshd killed",
        ),
    ],
)
def test_network_or_server_fails_and_comes_back(  # noqa: PLR0917 - one argument per column of the table
    watched: Watched,
    proxy: FaultProxy,
    victim: Sshd,
    hurt: Hurt,
    mend: Hurt,
    kinds: set[str],
    told_within_s: float,
    well_within_s: float,
) -> None:
    hurt(proxy, victim)
    wait_until(lambda: watched.kind() in kinds, told_within_s, f"{kinds}: {watched.health()}")
    if None not in kinds:
        wait_until(lambda: watched.absence() is not None, 10, "it is not shown as current")
    time.sleep(1.0)
    mend(proxy, victim)
    watched.wait_for_recovery(well_within_s)
    watched.assert_others_did_not_notice()


def test_delay_of_200_ms_each_way_costs_no_sample(watched: Watched, proxy: FaultProxy) -> None:
    proxy.faults = Faults(delay_s=0.2)
    count = len(watched.times[VICTIM])
    wait_until(lambda: len(watched.times[VICTIM]) >= count + 5, 15, "samples go on")
    watched.assert_others_did_not_notice()


def test_changed_host_key_is_refused_once_until_the_user_mends_known_hosts(
    watched: Watched, proxy: FaultProxy, victim: Sshd, tmp_path: Path
) -> None:
    victim.change_host_keys()
    watched.wait_for_kind("HostKeyChangedError", within_s=30)
    tries = proxy.accepted
    time.sleep(4.0)
    assert proxy.accepted == tries, "what only the user can mend is not tried again"
    assert watched.kind() == "HostKeyChangedError"
    (tmp_path / "victim_known_hosts").write_text(known_at(victim, proxy.port))
    watched.wait_for_recovery(15)
    watched.assert_others_did_not_notice()


def test_refused_login_is_tried_once_until_the_user_acts(
    watched: Watched, proxy: FaultProxy, victim: Sshd
) -> None:
    authorized = victim.root / "authorized_keys"
    allowed = authorized.read_text()
    authorized.write_text("")
    victim.cut()
    watched.wait_for_kind("LoginRefusedError", within_s=30)
    tries = proxy.accepted
    time.sleep(4.0)
    assert proxy.accepted == tries, "more refused logins can lock the account"
    authorized.write_text(allowed)
    os.utime(victim.client_key)
    watched.wait_for_recovery(15)
    watched.assert_others_did_not_notice()


@pytest.mark.parametrize(
    ("behaviour", "kinds"),
    [
        (Behaviour(run="flood"), {"FloodError", "ProtocolError", "NoAnswerError"}),
        (Behaviour(run="flood without window"), {"ProtocolError", "FloodError", "NoAnswerError"}),
        (Behaviour(run="echo"), {"NoAnswerError", "RejectedAnswerError"}),
        (Behaviour(run="exit"), {"ConnectionClosedError"}),
        (Behaviour(run="refuse"), {"ChannelRefusedError"}),
        (Behaviour(channel="refuse"), {"ChannelRefusedError"}),
        (Behaviour(login="stall"), {"ConnectingError"}),
        (Behaviour(login="password only"), {"LoginRefusedError"}),
    ],
    ids=lambda value: f"{value.login}, {value.channel}, {value.run}" if isinstance(value, Behaviour) else "",
)
def test_server_that_no_sshd_is(healthy: Sshd, tmp_path: Path, behaviour: Behaviour, kinds: set[str]) -> None:
    key = behaviour.host_key
    with serving(behaviour.script) as port:
        known = f"[127.0.0.1]:{port} {key.get_name()} {key.get_base64()}\n"
        config = config_for(healthy, tmp_path, port, healthy.client_key, known)
        with Watched(config) as watched:
            wait_until(lambda: all(len(watched.times[one]) >= 2 for one in HEALTHY), 60, "the others")
            watched.wait_for_kind(*kinds, within_s=20)
            time.sleep(4.0)
            assert watched.times[VICTIM] == []
            watched.assert_others_did_not_notice()
        behaviour.stop.set()


@pytest.mark.parametrize("options", [{"MaxStartups": "1:100:1"}, {"MaxSessions": "1"}])
def test_sshd_that_takes_few_connections_at_once_is_fully_connected_at_last(
    tmp_path: Path, options: dict[str, str]
) -> None:
    with (
        Sshd(tmp_path / "few", addresses=many_addresses(8, first=21), options=options) as sshd,
        Watched(sshd.client_config(), sshd.addresses) as watched,
    ):
        watched.wait_for_all()


def test_monitor_process_that_is_killed_is_replaced_and_reads_all_servers_again(watched: Watched) -> None:
    pid = watched.monitor.health()["RemoteMonitor-0"].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    counts = {server: len(times) for server, times in watched.times.items()}
    wait_until(
        lambda: all(len(times) >= counts[server] + 2 for server, times in watched.times.items()),
        60,
        "all servers are read again",
    )
    assert watched.monitor.health()["RemoteMonitor-0"].restarts == 1


def test_stop_is_bounded_while_servers_hang_in_every_way(
    watched: Watched, proxy: FaultProxy, victim: Sshd
) -> None:
    proxy.faults = Faults(hole=True)
    watched.wait_for_kind("NoAnswerError", within_s=10)
    began = time.monotonic()
    watched.monitor.stop()
    assert time.monotonic() - began < 2.5 + 0.5
    with contextlib.suppress(ValueError):
        proxy.heal()
    wait_until(lambda: not victim.sessions(), 20, "nothing runs at the server any more")
