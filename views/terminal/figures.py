"""What is known now of one server, GPU or run: each figure with its age, or why there is none."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from pylon.masking import masked_words
from pylon.monitor import observation_record, record_text
from pylon.recorder.history import json_column
from pylon.recorder.report.units import UNKNOWN, duration_text, time_text
from pylon.recorder.report.words import absence_text
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

_VALUES_SHOWN = 8


class Facts(NamedTuple):
    """What is above and below the charts of a page."""

    above: list[str]
    below: list[str]


def server_facts(server: ServerNow, width: int) -> Facts:
    """A server: its state, its figures by what they describe, its GPUs, and what is not known."""
    head = f"state {server.state}, read {_ago(server.age_s)}"
    above, unknown = [f"{head}{': ' if server.note else ''}{server.note}"], []
    for scope in ("host", "cgroup", "process"):
        names = [name for name in HOST_FIGURES if scope_of(name) == scope]
        known, reasons = _sorted_out(names, HOST_FIGURES, server.figure)
        above += _flowed([f"{scope}:", *known], width) if known else []
        unknown += [f"{scope}: {reason}: {', '.join(of_it)}" for reason, of_it in reasons.items()]
    below = [_gpu_line(gpu) for gpu in server.gpus]
    below += [
        f"{name}: {record_text(observation_record(seen), _VALUES_SHOWN)}"
        for name, seen in server.others.items()
    ]
    return Facts(above, [*below, *(["Not known:", *unknown] if unknown else [])])


def _gpu_line(gpu: GPUNow) -> str:
    shown = [
        f"{title} {short(gpu.figure(name).value, GPU_FIGURES[name])}"
        for name, title in (("gpu_utilization", "util"), ("gpu_memory_used", "memory"),
                            ("gpu_temperature", "temp"), ("gpu_power", "power"))
    ]  # fmt: skip
    return f"GPU {gpu.place}  {'  '.join(shown)}  {gpu.gpu.name or gpu.uuid}"


def gpu_facts(server: ServerNow, gpu: GPUNow, width: int) -> Facts:
    """A GPU: its figures, its processes, what is not known."""
    read = _ago(gpu.figure("gpu_power").age_s)
    known, reasons = _sorted_out(list(GPU_FIGURES), GPU_FIGURES, gpu.figure)
    above = [f"{gpu.gpu.name or UNKNOWN}  {gpu.uuid}  on {server.name}, read {read}", *_flowed(known, width)]
    below = ["processes: not known now"] if gpu.processes is None else []
    below += [
        f"process {one.pid}  user {one.owner_name or UNKNOWN}  {short(one.memory_used_bytes, 'bytes')}  "
        f"{' '.join(masked_words((one.command or one.name or UNKNOWN).split()))}"
        for one in gpu.processes or ()
    ]
    unknown = [f"Not known: {reason}: {', '.join(of_it)}" for reason, of_it in reasons.items()]
    return Facts(above, below + unknown)


def run_facts(run: RunNow, width: int) -> Facts:
    """A run: where it is, how fast, what holds it back, what is wrong."""
    planned = "" if run.epochs is None else f" of {run.epochs}"
    wait = ""
    if run.wait_s is not None and run.step_s:
        wait = f" ({100 * run.wait_s / run.step_s:.0f}% of it waits for data)"
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
    where = f"pid {_or_unknown(run.launch.pid)} on {run.launch.host or UNKNOWN}"
    facts.append(f"launch {run.launch.id} of {run.launches}, {where}")
    alerts = [f"! {one.severity}: {one.text}" for one in run.alerts_now]
    rest = [f"command {_command(run.launch.command)}", f"record {run.path}"]
    return Facts([*_flowed(facts, width), *alerts], rest)


def _command(text: str | None) -> str:
    words = json_column(text)
    if isinstance(words, str):
        words = words.split()
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
        if len(joined) <= width or not lines[-1]:
            lines[-1] = joined
        else:
            lines.append(fact)
    return lines


def _sorted_out(
    names: Sequence[str], units: Mapping[str, str], figure: Callable[[str], FigureNow]
) -> tuple[list[str], dict[str, list[str]]]:
    """Figures with their values, and those without by the reason."""
    known: list[str] = []
    reasons: dict[str, list[str]] = {}
    for name in names:
        now = figure(name)
        if now.value is not None:
            known.append(f"{name} {short(now.value, units[name])}")
        else:
            reasons.setdefault(absence_text(now.reason or UNKNOWN), []).append(name)
    return known, reasons
