"""What it costs to watch a fleet: real sshd servers, a thousand scripted ones, and other ways to ask.

    python -m benchmarks.fleet [--quick] [--servers 100] [--scripted 1000] [--seconds 60]

Everything runs on this machine, the far sides included: their start is most of the time until all are
connected. CPU is that of all processes of the monitor and of its thread in the user's process.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.fleet_meter import Meter, spread
from benchmarks.fleet_ways import compare_ways
from pylon.monitor import SystemMonitor
from pylon.monitor.remote.far import FrameDecoder, Tier, encode_request, far_script
from tests.monitor.links import ShellLink
from tests.monitor.ssh.fault_proxy import FaultProxy, Faults
from tests.monitor.ssh.sshd import Sshd, make_key, many_addresses, public_line

_REPOSITORY = Path(__file__).resolve().parent.parent
_CONNECTED_WITHIN_S = 300.0
_PER_SCRIPTED_PROCESS = 250
_ARRIVED_AFTER_INTERVALS = 2.5
_MIB = 2**20


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of everything")
    parser.add_argument("--servers", type=int, help="real ones (100)")
    parser.add_argument("--scripted", type=int, help="scripted ones (1000)")
    parser.add_argument("--seconds", type=float, help="of each measurement (60)")
    parser.add_argument("--only", choices=("ways", "real", "scripted"))
    options = parser.parse_args()
    few = 10 if options.quick else 1
    servers = options.servers or 100 // few
    scripted = options.scripted or 1000 // few
    seconds = options.seconds or 60.0 / (4 if options.quick else 1)
    with tempfile.TemporaryDirectory(prefix="pylon-fleet-") as folder:
        root = Path(folder)
        if options.only in {None, "ways"}:
            ways(root, 200 // few)
        if options.only in {None, "real"}:
            real(root, servers, seconds)
        if options.only in {None, "scripted"}:
            thousand(root, scripted, seconds)


def ways(root: Path, samples: int) -> None:
    """The table of ways to ask."""
    print(f"\nOne sample, {samples} of each way, on a real sshd\n")
    print("| way | CPU here ms | CPU there ms | forks there | round trips | bytes from there |")
    print("|---|---|---|---|---|---|")
    for one in compare_ways(root, samples):
        forks = "not counted" if one.far_forks is None else f"{one.far_forks:.2f}"
        print(
            f"| {one.name} | {one.cpu_ms:.2f} | {one.far_cpu_ms:.2f} | {forks} | {one.round_trips:.1f}"
            f" | {one.received_bytes:.0f} |"
        )


def real(root: Path, count: int, seconds: float) -> None:
    """Real sshd servers at 1 Hz; then one of them misbehaves in each way."""
    healthy = list(many_addresses(count - 1))
    with ExitStack() as stack:
        sshd = stack.enter_context(Sshd(root / "real", addresses=healthy))
        proxy = stack.enter_context(FaultProxy((healthy[0], sshd.port)))
        # In a process of its own: it takes all of a core, which is not the monitor's.
        flood_port = stack.enter_context(_server(str(sshd.host_keys["ed25519"]), "--flood"))
        ports = {"victim": proxy.port, "flooder": flood_port}
        config = sshd.client_config(
            extra="".join(
                f"Host {one}\n  HostName 127.0.0.1\n  Port {port}\n" for one, port in ports.items()
            ),
            known_hosts=sshd.known_hosts() + sshd.known_hosts(f"[127.0.0.1]:{one}" for one in ports.values()),
        )
        servers = [*healthy, "victim"]
        with ExitStack() as watch:
            monitor = SystemMonitor(servers, 1.0, ssh_config=config)
            meter = _measure(f"{count} real sshd servers at 1 Hz", monitor, servers, 1.0, seconds, watch)
            faults = {
                "does nothing wrong": Faults(),
                "hangs": Faults(hole=True),
                "sends one byte a second": Faults(bytes_per_s=1),
                "cuts each connection": Faults(cut_after=1),
            }
            print(f"\nThe {count - 1} others while one server misbehaves\n")
            print(
                "| the one | seconds between samples, 50 % / 99 % / most | samples received, of those due |"
            )
            print("|---|---|---|")
            for name, fault in faults.items():
                proxy.faults = fault
                _print_others(name, meter, healthy, seconds / 3)
        with SystemMonitor([*healthy, "flooder"], 1.0, ssh_config=config) as monitor:
            meter = Meter(monitor, healthy)
            meter.wait_for_all(_CONNECTED_WITHIN_S)
            _print_others("floods", meter, healthy, seconds / 3)
            meter.close()


def _print_others(name: str, meter: Meter, servers: list[str], seconds: float) -> None:
    # What was under way is over, what is new has begun.
    time.sleep(2.0)
    began_s = time.monotonic()
    time.sleep(seconds)
    ended_s = time.monotonic()
    time.sleep(_ARRIVED_AFTER_INTERVALS)
    gaps = meter.gaps(began_s, ended_s, servers)
    share = 100 * meter.count(began_s, ended_s, servers) / ((ended_s - began_s) * len(servers))
    print(f"| {name} | {spread(gaps)} | {share:.1f} % |", flush=True)


def thousand(root: Path, count: int, seconds: float) -> None:
    """Scripted servers at 0.2 Hz."""
    with ExitStack() as stack:
        config, names = stack.enter_context(_scripted(root, count))
        monitor = SystemMonitor(names, 5.0, ssh_config=config)
        _measure(f"{count} scripted servers at 0.2 Hz", monitor, names, 5.0, seconds, stack)


def _measure(  # noqa: PLR0917
    title: str,
    monitor: SystemMonitor,
    servers: list[str],
    interval_s: float,
    seconds: float,
    stack: ExitStack,
) -> Meter:
    stack.enter_context(monitor)
    meter = Meter(monitor, servers)
    stack.callback(meter.close)
    connected_s = meter.wait_for_all(_CONNECTED_WITHIN_S)
    # The first seconds are those of the start.
    time.sleep(2 * interval_s)
    before = meter.cost()
    time.sleep(seconds)
    after = meter.cost()
    time.sleep(_ARRIVED_AFTER_INTERVALS * interval_s)
    due = round(len(servers) * (after.at_s - before.at_s) / interval_s)
    received = meter.count(before.at_s, after.at_s)
    cpu_s, worker_s = after.cpu_s - before.cpu_s, after.worker_cpu_s - before.worker_cpu_s
    rows = {
        "samples due, received": f"{due}, {received} ({100 * received / due:.1f} %)",
        "seconds between samples, 50 % / 99 % / most": spread(meter.gaps(before.at_s, after.at_s)),
        "CPU per sample, all processes": f"{1e3 * cpu_s / received:.2f} ms",
        "CPU per sample, processes that read": f"{1e3 * worker_s / received:.2f} ms",
        "private memory per server, all processes": f"{after.memory_bytes / len(servers) / _MIB:.2f} MiB",
        "the same, processes that read": f"{after.worker_memory_bytes / len(servers) / _MIB:.2f} MiB",
        "processes": str(after.processes),
        "until all were connected and read": f"{connected_s:.1f} s",
    }
    print(f"\n{title}\n\n| | |\n|---|---|")
    print("\n".join(f"| {name} | {value} |" for name, value in rows.items()), flush=True)
    return meter


@contextmanager
def _scripted(root: Path, count: int) -> Iterator[tuple[Path, list[str]]]:
    """Processes that play `count` servers: an ssh_config that leads there, and the servers' names."""
    key, login = make_key(root / "scripted_host"), make_key(root / "scripted_login")
    answers = root / "answers"
    _record(answers)
    lines, names = [], []
    known = root / "scripted_known_hosts"
    with ExitStack() as stack:
        for number in range(-(-count // _PER_SCRIPTED_PROCESS)):
            port = stack.enter_context(_server(str(key), str(answers)))
            lines.append(f"Host p{number}-*\n  Port {port}\n")
            names += [f"p{number}-{place}" for place in range(_PER_SCRIPTED_PROCESS)]
        known.write_text(f"scripted {public_line(key)}\n")
        config = root / "scripted_config"
        config.write_text(
            "".join(lines)
            + f"Host *\n  HostName 127.0.0.1\n  User any\n  IdentityFile {login}\n  IdentitiesOnly yes\n"
            f"  IdentityAgent none\n  HostKeyAlias scripted\n  UserKnownHostsFile {known}\n"
        )
        yield config, names[:count]


@contextmanager
def _server(*arguments: str) -> Iterator[int]:
    """A process of `fleet_scripted`; its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.fleet_scripted", *arguments],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield int(process.stdout.readline()) if process.stdout is not None else 0
    finally:
        process.kill()
        process.communicate()


def _record(answers: Path) -> None:
    """A slow and a fast answer of this machine."""
    link, decoder = ShellLink(), FrameDecoder()
    link.send(far_script(), 10.0)
    for sequence, (name, tiers) in enumerate(
        {"slow": (Tier.FAST, Tier.SLOW, Tier.PROCESSES), "fast": (Tier.FAST,)}.items(), 1
    ):
        link.send(encode_request(sequence, tiers), 10.0)
        content = b""
        while not decoder.feed(piece := link.receive(30.0)):
            content += piece
        answers.with_suffix(f".{name}").write_bytes(content + piece)
    link.close()


if __name__ == "__main__":
    main()
