"""What is known now of one server, GPU or run: each figure with its age, or why there is none."""

import json
from collections.abc import Callable, Mapping, Sequence

from pylon.masking import masked_words
from pylon.monitor import record_text
from pylon.monitor.status.record import observation_record
from pylon.recorder.report.units import UNKNOWN, duration_text, time_text
from pylon.views.sources.runs import RunNow, silent_s
from pylon.views.sources.servers import (
    GPU_FIGURES,
    HOST_FIGURES,
    FigureNow,
    GPUNow,
    ServerNow,
    scope_of,
)
from pylon.views.terminal.columns import short
from pylon.views.terminal.text import fitted

_CELL = 38
_VALUES_SHOWN = 8


def server_lines(server: ServerNow, width: int) -> list[str]:
    """A server: its state, its figures by what they describe, its GPUs, further monitors."""
    head = f"state {server.state}, read {_ago(server.age_s)}"
    lines = [f"{head}{': ' if server.note else ''}{server.note}"]
    for scope in ("host", "cgroup", "process"):
        names = [name for name in HOST_FIGURES if scope_of(name) == scope]
        lines += _grid(scope, names, HOST_FIGURES, server.figure, width)
    for gpu in server.gpus:
        shown = [
            f"{title} {short(gpu.figure(name).value, GPU_FIGURES[name])}"
            for name, title in (("gpu_utilization", "util"), ("gpu_memory_used", "memory"),
                                ("gpu_temperature", "temp"), ("gpu_power", "power"))
        ]  # fmt: skip
        lines.append(f"GPU {gpu.place}  {'  '.join(shown)}  {gpu.gpu.name or gpu.uuid}")
    lines += [
        f"{name}: {record_text(observation_record(seen), _VALUES_SHOWN)}"
        for name, seen in server.others.items()
    ]
    return lines


def gpu_lines(server: ServerNow, gpu: GPUNow, width: int) -> list[str]:
    """A GPU: its figures and its processes."""
    lines = [
        f"{gpu.gpu.name or UNKNOWN}  {gpu.uuid}  on {server.name}, read {_ago(gpu.figure('gpu_power').age_s)}"
    ]
    lines += _grid("device", list(GPU_FIGURES), GPU_FIGURES, gpu.figure, width)
    if gpu.processes is None:
        return [*lines, "processes: not known now"]
    return lines + [
        f"process {one.pid}  user {one.owner_name or UNKNOWN}  {short(one.memory_used_bytes, 'bytes')}  "
        f"{' '.join(masked_words((one.command or one.name or UNKNOWN).split()))}"
        for one in gpu.processes
    ]


def run_lines(run: RunNow, width: int) -> list[str]:
    """A run: where it is, how fast, what holds it back, what is wrong."""
    planned = "" if run.epochs is None else f" of {run.epochs}"
    wait = (
        ""
        if run.wait_s is None or not run.step_s
        else f" ({100 * run.wait_s / run.step_s:.0f}% of it waits for data)"
    )
    facts = [
        f"state {run.doing or run.state}" + (f": {run.cause}" if run.cause else ""),
        f"epoch {_or_unknown(run.epoch)}{planned}, step {_or_unknown(run.step)}",
        f"loss {short(run.loss, '')}" + (f", {run.non_finite} NaN or infinite" if run.non_finite else ""),
        f"step time {short(run.step_s, 'seconds')}{wait}",
        f"verdict {run.verdict or UNKNOWN}",
        f"checkpoint {'not yet' if run.checkpoint_at is None else time_text(run.checkpoint_at)}",
        f"newest entry {duration_text(silent_s(run))} ago",
    ]
    if run.ending is None:
        facts.insert(4, f"end expected {time_text(run.end_expected_at)}")
    if run.score is not None:
        facts.append(f"score {run.score[0]} {run.score[1]:.6g}")
    facts.append(
        f"launch {run.launch.id} of {run.launches}, pid {_or_unknown(run.launch.pid)} on {run.launch.host or UNKNOWN}"
    )
    alerts = [f"! {one.severity}: {one.text}" for one in run.alerts_now]
    return [*_flowed(facts, width), *alerts, f"command {_command(run.launch.command)}", f"record {run.path}"]


def _command(text: str | None) -> str:
    if text is None:
        return UNKNOWN
    try:
        words = json.loads(text)
    except ValueError:
        words = text.split()
    return " ".join(masked_words([str(one) for one in words])) if isinstance(words, list) else UNKNOWN


def _or_unknown(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _ago(seconds: float | None) -> str:
    return "not yet" if seconds is None else f"{duration_text(seconds)} ago"


def _flowed(facts: Sequence[str], width: int) -> list[str]:
    """As many to a line as there is room for."""
    lines = [""]
    for fact in facts:
        joined = f"{lines[-1]}   {fact}" if lines[-1] else fact
        if len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(fact)
    return lines


def _grid(
    scope: str, names: Sequence[str], units: Mapping[str, str], figure: Callable[[str], FigureNow], width: int
) -> list[str]:
    """Figures in columns; those that are not known, with the reason, in one line for each reason."""
    known, reasons = [], {}
    for name in names:
        now = figure(name)
        if now.value is not None and not isinstance(now.value, tuple):
            known.append(f"{name} {short(now.value, units[name])}")
        else:
            reasons.setdefault(now.reason or UNKNOWN, []).append(name)
    columns = max(1, (width - 9) // _CELL)
    lines = []
    for place in range(0, len(known), columns):
        label = scope if place == 0 else ""
        lines.append(f"{label:9}" + "".join(fitted(one, _CELL) for one in known[place : place + columns]))
    return lines + [f"{scope:9}? {reason}: {', '.join(of_reason)}" for reason, of_reason in reasons.items()]
