"""Records of runs that never ran: of any length, with everything that a report shows."""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.history import (
    AlertRow,
    EndingRow,
    HistoryWriter,
    LaunchRow,
    SeriesKey,
    StepWindow,
    VerdictRow,
)

GIB = 2.0**30
BEGAN_AT = 1_790_000_000.0
LIMIT = 64 * GIB
EVIL = "</script><script>alert(1)</script>\u2028\x1b[31mred"


@dataclass(frozen=True)
class Run:
    """What is invented.

    Attributes:
        seconds: from the begin to the end.
        gpus: how many; the last one is lost at 70 % of the time if there is more than one.
        every_s: between readings.
        step_s: of a step, a third of it the wait for data.
        epoch_s: each ends with a validation and a save.
        cause, state: of the ending; cause None: there is none.
        seed: of the run and of its noise.
        configuration: of the run, besides its seed.
        name: of the run.
        process: pid and start ticks.
        ranks: that train together; None: a process alone.
    """

    seconds: int = 600
    gpus: int = 2
    every_s: float = 1.0
    step_s: float = 0.3
    epoch_s: int = 200
    cause: str | None = "cgroup_oom"
    state: str = "killed"
    seed: int = 1
    configuration: tuple[tuple[str, object], ...] = (("optimizer.args.lr", 0.001),)
    name: str = "synthetic"
    process: tuple[int, int] = (2**22 + 1, 1)
    boot_id: str | None = None
    host: str = "far-away"
    ranks: int | None = None


def write_history(path: Path, run: Run, commit_every: int = 1) -> Path:
    """Write the record of a run; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(run.seed)
    with HistoryWriter(path) as writer:
        launch = writer.begin(_launch(run))
        ticks = int(run.seconds / run.every_s)
        for tick in range(ticks):
            t = BEGAN_AT + tick * run.every_s
            share = tick / ticks
            writer.sample(t, _readings(run, share, noise))
            _training(writer, launch, run, t, noise)
            if tick % commit_every == 0:
                writer.commit()
        _alerts(writer, launch, run)
        if run.cause is not None:
            writer.end(_ending(launch, run))
    return path


def _launch(run: Run) -> LaunchRow:
    configuration: dict[str, object] = {"seed": run.seed, "work_dir": f"logs/{run.name}"}
    for key, value in run.configuration:
        place = configuration
        *folders, last = key.split(".")
        for folder in folders:
            place = place.setdefault(folder, {})  # type: ignore[assignment]
        place[last] = value
    hardware = {"cpu": "Invented 9000", "cores": 64, "gpus": ["H100"] * run.gpus}
    return LaunchRow(
        began_at=BEGAN_AT,
        kind="runner",
        name=run.name,
        host=run.host,
        boot_id=run.boot_id,
        pid=run.process[0],
        start_ticks=run.process[1],
        rank=None if run.ranks is None else 0,
        ranks=run.ranks,
        command=json.dumps(["python", "main.py", "--config-filepath", "mine.py"]),
        working_directory="/home/alice/work",
        python="3.11.7",
        configuration=json.dumps(configuration),
        git=json.dumps({"commit": "0123456789abcdef0123", "dirty": True}),
        hardware=json.dumps(hardware),
    )


def _readings(
    run: Run, share: float, noise: random.Random
) -> Iterator[tuple[SeriesKey, float | None, str | None]]:
    def key(name: str, unit: str, scope: str = "host", device: str = "") -> SeriesKey:
        return SeriesKey("localhost", device, name, unit, scope)

    for gpu in range(run.gpus):
        device = f"GPU-{gpu:08x}-aaaa"
        lost = "lost" if run.gpus > 1 and gpu == run.gpus - 1 and share > 0.7 else None
        wave = 70 + 20 * math.sin(share * 40 + gpu)
        values = {
            ("gpu_utilization", "percent"): min(100.0, max(0.0, wave + noise.gauss(0, 8))),
            ("gpu_memory_used", "bytes"): (20 + 10 * share + gpu) * GIB,
            ("gpu_memory_total", "bytes"): 80 * GIB,
            ("gpu_power", "watts"): 250 + 3 * wave + noise.gauss(0, 10),
            ("gpu_temperature", "celsius"): 55 + wave / 8 + noise.gauss(0, 1),
            ("gpu_sm_clock", "hertz"): 1.7e9 + noise.gauss(0, 3e7),
            ("gpu_sm_clock_max", "hertz"): 1.98e9,
            ("gpu_power_limit", "watts"): 700.0,
            ("gpu_throttle_reasons", "bits"): 0.0,
        }
        for (name, unit), value in values.items():
            yield key(name, unit, "device", device), None if lost else value, lost
    used = (10 + 53 * share**2) * GIB
    yield key("cpu_utilization", "percent"), 35 + noise.gauss(0, 6), None
    yield key("core_max_utilization", "percent"), 90 + noise.gauss(0, 3), None
    yield key("run_cpu", "percent", "process"), 800 + noise.gauss(0, 60), None
    yield key("run_memory", "bytes", "process"), used, None
    yield key("cgroup_memory_used", "bytes", "cgroup"), used + GIB, None
    yield key("cgroup_memory_limit", "bytes", "cgroup"), LIMIT, None
    yield key("memory_used", "bytes"), used + 40 * GIB, None
    yield key("memory_total", "bytes"), 512 * GIB, None
    yield (
        key("cgroup_memory_pressure", "percent", "cgroup"),
        0.0 if share < 0.8 else 40 * share + noise.random(),
        None,
    )
    yield key("disk_read", "bytes_per_second"), 2e8 * noise.random(), None
    yield key("disk_write", "bytes_per_second"), 5e7 * noise.random(), None
    yield key("net_received", "bytes_per_second"), 1e8 * noise.random(), None
    yield key("net_sent", "bytes_per_second"), 2e6 * noise.random(), None
    yield key("swap_used", "bytes"), None, "unsupported"


def _training(writer: HistoryWriter, launch: int, run: Run, t: float, noise: random.Random) -> None:
    since = t - BEGAN_AT
    inside = since % run.epoch_s
    epoch = int(since // run.epoch_s)
    validating = inside > run.epoch_s * 0.9
    if inside < run.every_s:
        writer.mark(launch, t, "epoch", {"epoch": epoch})
        writer.mark(launch, t, "learning_rate", {"learning_rate": 1e-3 * 0.9**epoch})
    for kind, begin in (("validation", 0.9), ("checkpoint", 0.94)):
        for end, at in (("begin", begin), ("end", begin + 0.03)):
            if run.epoch_s * at <= inside < run.epoch_s * at + run.every_s:
                writer.mark(launch, t, f"{kind}_{end}", {"epoch": epoch})
                if (kind, end) == ("validation", "end"):
                    writer.mark(launch, t, "score", {"f1": 1 - 0.8 / (epoch + 1.5) + noise.gauss(0, 0.005)})
    if validating:
        return
    steps = max(1, round(run.every_s / run.step_s))
    step = run.step_s * (1 + abs(noise.gauss(0, 0.1)))
    loss = 2.0 / (1 + since / run.epoch_s) + 0.1 + abs(noise.gauss(0, 0.02))
    first = int(since / run.step_s)
    non_finite = 1 if abs(inside - run.epoch_s * 0.5) < run.every_s / 2 else 0
    writer.window(
        StepWindow(
            launch, t, run.every_s, steps, first, first + steps - 1, epoch,
            step * 0.9, step, step * 1.3, step * 0.2, step * 0.33, step * 0.6,
            loss * 0.9, loss, loss * 1.1, steps, non_finite,
        )
    )  # fmt: skip
    if inside % 60 < run.every_s:
        name = "input_bound" if epoch % 3 else "gpu_busy"
        sentences = ["A step waited 107.0 ms of 320.0 ms for its data: 33 %."]
        evidence = json.dumps({"level": "high", "sentences": sentences, "advice": "Use more loader workers"})
        writer.verdict(VerdictRow(launch, t, 60.0, name, evidence, "cpu_bound", run.step_s * 0.67))


def _alerts(writer: HistoryWriter, launch: int, run: Run) -> None:
    for share, rule, text in (
        (0.7, "gpu_lost", "GPU 1 is lost"),
        (0.95, "memory_runs_out", "memory runs out in 2 min"),
    ):
        since = BEGAN_AT + run.seconds * share
        writer.alert_began(AlertRow(launch, rule, "critical", since, text, value=1.0, threshold=2.0))


def _ending(launch: int, run: Run) -> EndingRow:
    evidence = [
        {"text": "oom_kill of the run's control group rose from 0 to 1", "kind": "cgroup", "value": 1}
    ]
    return EndingRow(
        launch, BEGAN_AT + run.seconds, run.state, run.cause or "", "confirmed", "recorder", None, 9,
        json.dumps(evidence), "Ask for more memory.", f"loading batch\n{EVIL}\n", None,
    )  # fmt: skip
