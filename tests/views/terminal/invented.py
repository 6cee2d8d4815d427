"""Pictures of invented servers and runs, and figures over time."""

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from pylon.monitor import Absence, MonitorHealth, SystemSnapshot
from pylon.recorder.history import AlertRow, EndingRow, LaunchRow
from pylon.views.sources.board import Runs
from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import ServerNow, servers_now
from pylon.views.terminal.picture import Picture
from tests.monitor.statuses import GIB, cpu, gpu, gpus, process, seen

EVIL = "\x1b[31mred\x1b]0;title\x07[bold]b[/bold]\n"


def system(count: int, each: int = 8, tick: int = 0, hostile: bool = False) -> SystemSnapshot:
    """Servers with GPUs, of which the third one does not answer."""
    hosts: dict[str, Any] = {}
    found: dict[str, Any] = {}
    for number in range(count):
        name = f"dgx{number:03d}" if not hostile else f"dgx{number}{EVIL}"
        trouble = Absence.UNREACHABLE if number == 2 else None
        hosts[name] = seen(cpu(10.0 + (number * 7 + tick) % 80), 9.0 if trouble else 0.2, trouble=trouble)
        samples = [_gpu(number, place, tick, hostile) for place in range(each)]
        found[name] = seen(gpus(*samples), 9.0 if trouble else 0.2, trouble=trouble)
    return SystemSnapshot(tick, hosts, found)


def _gpu(number: int, place: int, tick: int, hostile: bool) -> Any:
    one = process(1000 + place, user=f"user{place}" if not hostile else EVIL)
    command = f"python train.py --api-key {'0123456789abcdef' * 2} --run {number}"
    one = dataclasses.replace(one, name="python", command=command if not hostile else EVIL)
    return dataclasses.replace(
        gpu(place, 10 + place),
        uuid=f"GPU-{number}-{place}",
        utilization_percent=float((number * 13 + place * 7 + tick * 3) % 101),
        temperature_c=float(40 + (number + place * 5 + tick) % 50),
        power_w=300.0,
        processes=(one,),
    )


def servers(count: int, each: int = 8, tick: int = 0, hostile: bool = False) -> tuple[ServerNow, ...]:
    shown = system(count, each, tick, hostile)
    return servers_now(shown, {}, list(shown.cpu))


def run(name: str = "mine", path: Path = Path("logs/mine/history.sqlite"), **fields: Any) -> RunNow:
    now = time.time()
    known: dict[str, Any] = {
        "ending": None, "cause": "", "last_seen": now - 1, "epoch": 3, "epochs": 10, "step": 1234,
        "step_at": now - 1, "loss": 0.1234, "non_finite": 0, "step_s": 0.32, "wait_s": 0.107,
        "steps_per_s": 3.1, "end_expected_at": now + 4000, "score": ("f1", 0.87),
        "verdict": "Input-bound: steps wait for data", "checkpoint_at": now - 100,
        "alerts": (AlertRow(1, "memory_runs_out", "critical", now - 60, "memory runs out in 2 min"),),
        "doing": "training",
    }  # fmt: skip
    command = '["python", "main.py", "--set", "tracker.token=hunter2hunter2"]'
    launch = LaunchRow(now - 1000, "runner", name=name, host="far-away", pid=77, command=command, id=1)
    return RunNow(path, launch, 1, **(known | fields))


def ended(name: str = "old") -> RunNow:
    at = time.time() - 500
    ending = EndingRow(1, at, "killed", "cgroup_oom", "confirmed", "recorder", None, 9)
    return run(
        name, Path(f"logs/{name}/history.sqlite"), ending=ending, cause="Killed by the kernel", doing=None
    )


def picture(count: int = 3, each: int = 2, tick: int = 0, runs: tuple[RunNow, ...] | None = None) -> Picture:
    return Picture(servers=servers(count, each, tick), runs=Runs((run(), ended()) if runs is None else runs))


def trail(_server: str, name: str, _device: str = "") -> tuple[list[float], list[float | None]]:
    times = [1_790_000_000.0 + second for second in range(120)]
    scale = GIB if "memory" in name else 1.0
    return times, [None if 50 <= s < 60 else scale * (50 + 40 * math.sin(s / 9)) for s in range(120)]


class InventedMonitor:
    """What a feed reads, other at each look."""

    def __init__(self, count: int, each: int = 8) -> None:
        self.count, self.each, self.ticks = count, each, 0

    def names(self) -> list[str]:
        return [f"dgx{number:03d}" for number in range(self.count)]

    def latest(self) -> SystemSnapshot:
        self.ticks += 1
        return system(self.count, self.each, self.ticks)

    def health(self) -> dict[str, MonitorHealth]:
        return {}
