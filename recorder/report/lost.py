"""A launch whose record has no end: whether it still runs, or ended together with its recorder."""

import json
import socket
import time
from pathlib import Path

from pylon.recorder.history import EndingRow, LaunchRow
from pylon.recorder.report.units import duration_text, time_text

# A recorder that writes once a second has not been silent for so long.
SILENT_S = 60.0


def ending_of_lost(
    launch: LaunchRow,
    last_seen: float | None,
    *,
    proc: Path = Path("/proc"),
    host: str | None = None,
    now: float | None = None,
) -> EndingRow | None:
    """What is known of the end that nobody wrote; None if the launch still runs.

    Args:
        launch: of the record.
        last_seen: time of the newest sample or mark; None: there is none.
        proc: where the kernel shows its processes.
        host: this machine's name.
        now: Unix time.
    """
    now = time.time() if now is None else now
    seen = launch.began_at if last_seen is None else last_seen
    here = launch.host is None or launch.host == (host or socket.gethostname())
    boot_id = _boot_id(proc)
    same_boot = None if not here or None in {launch.boot_id, boot_id} else launch.boot_id == boot_id
    if here and same_boot is not False and _is_same_process(launch, proc):
        return None
    if not here and now - seen < SILENT_S:
        return None
    facts = [f"the last sample is of {time_text(seen)}, {duration_text(max(0.0, now - seen))} ago"]
    if not here:
        facts.append(f"it ran on {launch.host}; whether it still runs there is not observable from here")
        cause = "not_observable"
    elif same_boot is False:
        facts.append("the machine was started again since then: its boot id has changed")
        cause = "reboot"
    else:
        facts.append(
            f"its process {launch.pid} is gone, and the machine was not started again"
            if same_boot
            else f"its process {launch.pid} is gone"
        )
        cause = "recorder_lost"
    evidence = json.dumps([{"text": fact, "kind": "record", "value": None} for fact in facts])
    certainty = "not_observable" if cause == "not_observable" else "likely"
    return EndingRow(launch.id or 0, seen, "unknown", cause, certainty, "next reader", evidence=evidence)


def _boot_id(proc: Path) -> str | None:
    try:
        return (proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None


def _is_same_process(launch: LaunchRow, proc: Path) -> bool:
    """Whether the recorded process is alive: the same pid, begun in the same tick, and no zombie."""
    if launch.pid is None:
        return False
    try:
        fields = (
            (proc / str(launch.pid) / "stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
        return fields[0] not in {"Z", "X"} and launch.start_ticks in {None, int(fields[19])}
    except (OSError, ValueError, IndexError):
        return False
