"""A launch without a written end: its recorder ended in the same moment, or before it.

Who reads the record next can still report until when it was recorded, and whether the machine has restarted
since.
"""

import datetime
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.recorder.channel import start_ticks
from pylon.recorder.endings.advice import advice
from pylon.recorder.history import EndingRow, LaunchRow

# A recorder needs less to write an end; one that fails writes in steps of some kB.
_LITTLE_BYTES = 1024 * 1024
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str | None:
    """The kernel's identity of this machine's last start; None if it is not shown."""
    try:
        return Path(_BOOT_ID).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


@dataclass(frozen=True, slots=True)
class Here:
    """What the reader can look at.

    Attributes:
        host: this machine's name.
        boot_id: of its last start.
        start_ticks: of a process of this machine, None if it has ended.
    """

    host: str = field(default_factory=platform.node)
    boot_id: str | None = field(default_factory=boot_id)
    start_ticks: Callable[[int], int | None] = start_ticks


def runs_here(launch: LaunchRow, here: Here | None = None) -> bool:
    """Whether the process of a launch is seen to run on this machine."""
    here = here or Here()
    return (
        launch.pid is not None
        and launch.start_ticks is not None
        and launch.boot_id is not None
        and launch.boot_id == here.boot_id
        and here.start_ticks(launch.pid) == launch.start_ticks
    )


def ending_by_reader(
    launch: LaunchRow, last_t: float | None, here: Here | None = None, free_bytes: int | None = None
) -> EndingRow | None:
    """How a launch without an ending row ended, as far as its reader can know; None if it runs.

    Args:
        launch: as it began.
        last_t: time of the last thing that was recorded of it; None if there was nothing.
        here: the reader's machine.
        free_bytes: on the disk of the record; None: not known.
    """
    here = here or Here()
    if runs_here(launch, here):
        return None
    last = launch.began_at if last_t is None else last_t
    evidence: list[dict[str, Any]] = [
        _one(f"the last thing recorded is of {_shown(last)}; no end was written", "last_sample", last)
    ]
    state, cause, certainty = "unknown", "recorder_lost", "likely"
    if launch.host != here.host or launch.boot_id is None or here.boot_id is None:
        certainty = "not_observable"
        evidence.append(
            _one(
                f"it ran on {launch.host or 'an unknown machine'}, and this is {here.host}: whether it still "
                "runs there, or that machine has restarted, is not seen from here",
                "host",
                launch.host,
            )
        )
    elif launch.boot_id != here.boot_id:
        cause = "reboot"
        evidence.append(_one("the machine has restarted since (another boot id)", "boot_id", launch.boot_id))
    elif free_bytes is not None and free_bytes < _LITTLE_BYTES:
        cause = "disk_full"
        evidence.append(
            _one(
                f"its process {launch.pid} has ended, and the disk of the record has {free_bytes} bytes "
                "free: its recorder could not write the end",
                "disk_free",
                free_bytes,
            )
        )
    else:
        evidence.append(
            _one(
                f"its process {launch.pid} has ended, the machine has not restarted, and the recorder was "
                "ended with it. That is how a scheduler or a container ends a whole job, and an OOM kill "
                "a whole control group",
                "process",
                launch.pid,
            )
        )
    return EndingRow(
        launch.id or 0,
        last,
        state,
        cause,
        certainty,
        "next reader",
        evidence=json.dumps(evidence),
        advice=advice(cause),
    )


def _one(text: str, kind: str, value: object) -> dict[str, Any]:
    return {"text": text, "kind": kind, "value": value}


def _shown(t: float) -> str:
    return datetime.datetime.fromtimestamp(t, datetime.UTC).isoformat(timespec="seconds")
