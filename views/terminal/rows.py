"""What is in each list, and the columns that it can show."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pylon.recorder.history import AlertRow
from pylon.recorder.report.units import UNKNOWN
from pylon.views.sources.runs import RunNow, silent_s
from pylon.views.sources.servers import GPUNow, ServerNow
from pylon.views.terminal.columns import Column, short, short_time


@dataclass(frozen=True, slots=True)
class GPURow:
    """A GPU and its server."""

    server: ServerNow
    now: GPUNow


@dataclass(frozen=True, slots=True)
class AlertLine:
    """Something that is wrong: a run's alert, a server in trouble, or a record that cannot be read."""

    severity: str
    of: str
    rule: str
    text: str
    since: float | None = None
    until: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it is so now."""
        return self.until is None


def gpu_rows(servers: Iterable[ServerNow]) -> list[GPURow]:
    """All GPUs."""
    return [GPURow(server, gpu) for server in servers for gpu in server.gpus]


def alert_lines(
    servers: Iterable[ServerNow], runs: Sequence[RunNow], problems: Iterable[str]
) -> list[AlertLine]:
    """What is wrong now comes first, then what was wrong lately."""
    found = [
        AlertLine("trouble", server.name, server.state, server.note)
        for server in servers
        if server.state not in {"ok", "starting"}
    ]
    found += [AlertLine("trouble", "records", "unreadable", problem) for problem in problems]
    for run in runs:
        found += [_alert(run, one) for one in run.alerts]
    return sorted(found, key=lambda line: (not line.holds, -(line.since or time.time())))


def _alert(run: RunNow, alert: AlertRow) -> AlertLine:
    until = alert.until if run.ending is None else alert.until or run.ending.at
    return AlertLine(alert.severity, run.name, alert.rule, alert.text, alert.since, until)


def _host(name: str) -> Any:  # noqa: ANN401 - a function of a row
    return lambda server: server.figure(name).value


def _gpu(name: str) -> Any:  # noqa: ANN401 - a function of a row
    return lambda row: row.now.figure(name).value


def _share(used: float | None, total: float | None) -> float | None:
    return None if used is None or not total else 100 * used / total


def _of_gpus(server: ServerNow, name: str) -> list[float]:
    found = [gpu.figure(name).value for gpu in server.gpus]
    return [one for one in found if one is not None]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _gpu_count(server: ServerNow) -> float | None:
    return float(len(server.gpus)) if server.gpus_known else None


def _gpu_memory_share(server: ServerNow) -> float | None:
    used, total = _of_gpus(server, "gpu_memory_used"), _of_gpus(server, "gpu_memory_total")
    return _share(sum(used), sum(total)) if len(used) == len(total) == len(server.gpus) else None


def _memory_share(server: ServerNow) -> float | None:
    return _share(server.figure("memory_used").value, server.figure("memory_total").value)


def _note(server: ServerNow) -> str:
    return server.note or (f"same machine as {server.same_as}" if server.same_as else "")


SERVERS: tuple[Column[ServerNow], ...] = (
    Column("server", "Server", 16, lambda row: row.name, aliases=("host", "name")),
    Column("state", "State", 11, lambda row: row.state),
    Column("age", "Age", 6, lambda row: row.age_s, "seconds", lambda row: short_time(row.age_s)),
    Column("cpu", "CPU", 5, _host("cpu_utilization"), "percent", aliases=("util",)),
    Column("mem_pct", "Mem%", 5, _memory_share, "percent"),
    Column("gpus", "GPUs", 4, _gpu_count, "count"),
    Column("gpu_util", "GPU%", 5, lambda row: _mean(_of_gpus(row, "gpu_utilization")), "percent"),
    Column("gpu_mem", "GMem%", 5, _gpu_memory_share, "percent"),
    Column("temp", "Temp", 5, lambda row: max(_of_gpus(row, "gpu_temperature"), default=None), "celsius"),
    Column("load", "Load", 6, _host("load_1m"), "count", wide=True),
    Column("mem", "Memory", 7, _host("memory_used"), "bytes", wide=True),
    Column("mem_total", "of", 7, _host("memory_total"), "bytes", wide=True),
    Column("power", "Power", 7, lambda row: sum(found) if (found := _of_gpus(row, "gpu_power")) else None,
           "watts", wide=True),
    Column("net_in", "Net in", 9, _host("net_received"), "bytes_per_second", wide=True),
    Column("net_out", "Net out", 9, _host("net_sent"), "bytes_per_second", wide=True),
    Column("read", "Read", 9, _host("disk_read"), "bytes_per_second", wide=True),
    Column("write", "Write", 9, _host("disk_write"), "bytes_per_second", wide=True),
    Column("swap", "Swap", 7, _host("swap_used"), "bytes", wide=True),
    Column("note", "Note", 0, _note),
)  # fmt: skip


def _users(row: GPURow) -> str | None:
    if row.now.processes is None:
        return None
    return ", ".join(sorted({one.owner_name or str(one.pid) for one in row.now.processes}))


def _gpu_share(row: GPURow) -> float | None:
    return _share(row.now.figure("gpu_memory_used").value, row.now.figure("gpu_memory_total").value)


def _gpu_state(row: GPURow) -> str:
    seen = row.now.figure("gpu_utilization")
    return seen.reason or "ok"


GPUS: tuple[Column[GPURow], ...] = (
    Column("server", "Server", 16, lambda row: row.server.name, aliases=("host",)),
    Column("gpu", "GPU", 3, lambda row: float(row.now.place), "count", aliases=("index",)),
    Column("state", "State", 11, _gpu_state),
    Column("util", "Util", 5, _gpu("gpu_utilization"), "percent"),
    Column("mem", "Memory", 7, _gpu("gpu_memory_used"), "bytes"),
    Column("mem_pct", "Mem%", 5, _gpu_share, "percent"),
    Column("temp", "Temp", 5, _gpu("gpu_temperature"), "celsius"),
    Column("power", "Power", 6, _gpu("gpu_power"), "watts"),
    Column("mem_total", "of", 7, _gpu("gpu_memory_total"), "bytes", wide=True),
    Column("clock", "Clock", 8, _gpu("gpu_sm_clock"), "hertz", wide=True),
    Column("fan", "Fan", 5, _gpu("gpu_fan"), "percent", wide=True),
    Column("age", "Age", 6, lambda row: row.now.figure("gpu_utilization").age_s, "seconds",
           lambda row: short_time(row.now.figure("gpu_utilization").age_s), wide=True),
    Column("name", "Name", 24, lambda row: row.now.gpu.name, wide=True),
    Column("uuid", "UUID", 40, lambda row: row.now.uuid, wide=True),
    Column("user", "Users", 0, _users),
)  # fmt: skip


def _epoch(run: RunNow) -> str:
    if run.epoch is None:
        return UNKNOWN
    return f"{run.epoch}/{run.epochs}" if run.epochs is not None else str(run.epoch)


def _wait_share(run: RunNow) -> float | None:
    return _share(run.wait_s, run.step_s)


def _eta(run: RunNow) -> float | None:
    return None if run.end_expected_at is None else max(0.0, run.end_expected_at - time.time())


def _since(at: float | None) -> float | None:
    return None if at is None else max(0.0, time.time() - at)


def _loss(run: RunNow) -> str:
    if run.non_finite:
        return "NaN/inf"
    return short(run.loss, "")


RUNS: tuple[Column[RunNow], ...] = (
    Column("run", "Run", 12, lambda row: row.name, aliases=("name",)),
    Column("state", "State", 10, lambda row: row.state if row.ending else row.doing or row.state),
    Column("epoch", "Epoch", 6, lambda row: row.epoch, "count", _epoch),
    Column("step", "Step", 7, lambda row: row.step, "count"),
    Column("loss", "Loss", 7, lambda row: row.loss, "", _loss),
    Column("step_time", "Time", 6, lambda row: row.step_s, "seconds"),
    Column("wait", "Wait", 4, _wait_share, "percent"),
    Column("eta", "ETA", 6, _eta, "seconds", lambda row: "" if row.ending else short_time(_eta(row))),
    Column("checkpoint", "Saved", 6, lambda row: _since(row.checkpoint_at), "seconds",
           lambda row: short_time(_since(row.checkpoint_at)), wide=True),
    Column("seen", "Seen", 6, silent_s, "seconds", lambda row: short_time(silent_s(row)), wide=True),
    Column("alerts", "Alerts", 6, lambda row: float(len(row.alerts_now)), "count", wide=True),
    Column("score", "Score", 20, lambda row: row.score[1] if row.score else None, "",
           lambda row: f"{row.score[0]} {row.score[1]:.4g}" if row.score else UNKNOWN, wide=True),
    Column("host", "Host", 16, lambda row: row.launch.host, wide=True),
    Column("path", "Record", 40, lambda row: str(row.path), wide=True),
    Column("verdict", "Verdict", 0, lambda row: row.cause if row.ending else row.verdict),
)  # fmt: skip

ALERTS: tuple[Column[AlertLine], ...] = (
    Column("severity", "Severity", 9, lambda row: row.severity),
    Column("state", "State", 6, lambda row: "now" if row.holds else "passed"),
    Column("since", "Since", 6, lambda row: _since(row.since), "seconds",
           lambda row: "" if row.since is None else short_time(_since(row.since))),
    Column("of", "Of", 16, lambda row: row.of, aliases=("server", "host", "run")),
    Column("rule", "What", 16, lambda row: row.rule),
    Column("text", "Text", 0, lambda row: row.text),
)  # fmt: skip
