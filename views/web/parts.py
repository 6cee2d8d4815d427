"""Servers and runs as the page takes them: small records that change only when what they show changes.

An age would change each time: a record has the Unix time instead, and the page counts on from it.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

from pylon.monitor import printable
from pylon.recorder.history import AlertRow
from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import FigureNow, GPUNow, ServerNow

Clock = Callable[[float | None], float | None]
"""From an age in seconds to the Unix time."""
OF_HOST = ("cpu_utilization", "memory_used", "memory_total", "load_1m", "net_received", "net_sent")
OF_GPU = ("gpu_utilization", "gpu_memory_used", "gpu_memory_total", "gpu_temperature", "gpu_power")
_LONGEST_NAME = 256
_LONGEST_NOTE = 2000
_DIGITS = 5


def server_part(number: int, server: ServerNow, unix_time: Clock) -> dict[str, Any]:
    """One line of the overview."""
    return {
        "id": number,
        "name": shown(server.name),
        "state": server.state,
        "ok": server.is_ok,
        "note": shown(server.note, _LONGEST_NOTE),
        "same_as": shown(server.same_as or ""),
        "at": unix_time(server.age_s),
        "figures": {name: _figure(server.figure(name)) for name in OF_HOST},
        "gpus": [[_figure(gpu.figure(name)) for name in OF_GPU] for gpu in server.gpus],
        "gpus_known": server.gpus_known,
    }


def run_part(number: int, run: RunNow) -> dict[str, Any]:
    """One line of the overview."""
    score = None if run.score is None else [shown(run.score[0]), _rounded(run.score[1])]
    return {
        "id": number,
        "name": shown(run.name),
        "state": run.state,
        "running": run.ending is None,
        "cause": shown(run.cause, _LONGEST_NOTE),
        "folder": shown(run.path.parent.name),
        "host": shown(run.launch.host or ""),
        "seen": round(run.last_seen),
        "epoch": run.epoch,
        "epochs": run.epochs,
        "step": run.step,
        "step_at": None if run.step_at is None else round(run.step_at),
        "loss": _rounded(run.loss),
        "non_finite": run.non_finite,
        "step_s": _rounded(run.step_s),
        "wait_s": _rounded(run.wait_s),
        "end_at": None if run.end_expected_at is None else round(run.end_expected_at),
        "score": score,
        "verdict": run.verdict,
        "doing": run.doing,
        "alerts": [_alert(one) for one in run.alerts_now],
    }


def processes_of(gpu: GPUNow, *, commands: bool) -> list[dict[str, Any]] | None:
    """Who uses a GPU; None: not known now.

    Args:
        gpu: of a server.
        commands: whether command lines, which are masked, are part of it.
    """
    if gpu.processes is None:
        return None
    return [
        {
            "pid": one.pid,
            "user": shown(one.owner_name or ("" if one.owner_uid is None else str(one.owner_uid))),
            "name": shown(one.name or ""),
            "memory": one.memory_used_bytes,
            **({"command": shown(one.command or "")} if commands else {}),
        }
        for one in gpu.processes
    ]


def shown(text: str, longest: int = _LONGEST_NAME) -> str:
    """Text of others: no control character, and not longer than `longest`."""
    cut = text if len(text) <= longest else f"{text[:longest]}..."
    return printable(cut)


def all_shown(texts: Iterable[str]) -> list[str]:
    """Several texts."""
    return [shown(text, _LONGEST_NOTE) for text in texts]


def _figure(figure: FigureNow) -> float | int | str | None:
    """A value, or the reason why there is none."""
    return figure.reason if figure.value is None else _rounded(figure.value)


def _alert(alert: AlertRow) -> dict[str, Any]:
    return {
        "severity": shown(alert.severity),
        "text": shown(alert.text or alert.rule, _LONGEST_NOTE),
        "since": round(alert.since),
    }


def _rounded(value: float | None) -> float | int | None:
    """So many digits that none that is shown is lost; None also of what is not finite."""
    if value is None or not math.isfinite(value):
        return None
    found = float(f"{value:.{_DIGITS}g}")
    return int(found) if found.is_integer() else found
