"""How the launch before this one ended, from what it noted in `state.json` and from what is left of it.

noted an end ──> that one          noted none ──> what its recorder saw, or
                                   between its last sign of life and now, with the evidence:
                                   its process, the machine's restart, OOM kills in its control group
"""

import datetime
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psutil

from pylon.monitor import Absence, OOMCount, oom_count_in
from pylon.recorder.channel import start_ticks
from pylon.recorder.history import HistoryError, LaunchRow, open_history
from pylon.recorder.report.words import cause_line
from pylon.runners.errors import RunDirectoryError
from pylon.runners.launch.sign_of_life import RunProcess
from pylon.runners.run_directory.directory import RunDirectory

logger = logging.getLogger(__name__)


def _booted_at() -> float:
    return float(psutil.boot_time())


@dataclass(frozen=True)
class Evidence:
    """What this launch can look at.

    Attributes:
        own: this process.
        now_s: wall-clock time.
        booted_s: when this machine started.
        start_ticks: of a process of this machine, None if it has ended.
        oom_count: the OOM kills in a control group.
    """

    own: RunProcess = field(default_factory=RunProcess.own)
    now_s: float = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).timestamp())
    booted_s: float = field(default_factory=_booted_at)
    start_ticks: Callable[[int], int | None] = start_ticks
    oom_count: Callable[[str], OOMCount | Absence] = oom_count_in


def report_former_ending(directory: RunDirectory, evidence: Evidence | None = None) -> None:
    """Log how the last launch in the directory ended, as far as it is known.

    Raises:
        RunDirectoryError: `state.json` holds no JSON object; or that launch still runs on this machine, and
            the file system has no locks that would have kept this one out.
    """
    content = directory.read_object(directory.state)
    if content is None:
        return
    state, ended = content.get("state"), _text(content, "ended_at")
    at = "" if ended is None else f" at {ended}"
    if state == "failed":
        cause = (_text(content, "error") or "").partition("\n")[0]
        logger.info("the last launch failed%s%s", at, f": {cause}" if cause else "")
    elif state == "finished":
        logger.info("the last launch finished%s", at)
    elif state == "preempted":
        logger.info("the last launch was stopped%s by %s", at, _text(content, "signal") or "a signal")
    elif state == "running":
        evidence = evidence or Evidence()
        process = _process(content)
        if not directory.has_locks and _is_alive(process, evidence):
            raise RunDirectoryError(
                f"{directory.root}: process {process.pid} of this machine runs in this directory, whose file "
                "system has no locks. Wait for it, stop it, or start next to it with --fresh or --work-dir."
            )
        seen = recorded_ending(directory, process)
        logger.warning("the last launch %s", seen or ending_without_note(content, evidence))


def recorded_ending(directory: RunDirectory, process: RunProcess) -> str | None:
    """What the recorder of a launch saw of its end; None if there is none, or it ended too."""
    try:
        with open_history(directory.record) as history:
            launches = [one for one in history.launches() if _is_of(one, process)]
            ending = history.ending(launches[-1].id or 0) if launches else None
    except HistoryError:
        return None
    if ending is None:
        return None
    cause = cause_line(ending.cause, ending.certainty, ending.exit_code, ending.signal)
    return f"ended at {_iso(ending.at)}, as recorded: {cause} `pylon report {directory.root}` shows more."


def _is_of(launch: LaunchRow, process: RunProcess) -> bool:
    return (launch.pid, launch.start_ticks) == (process.pid, process.start_ticks)


def ending_without_note(content: dict[str, Any], evidence: Evidence) -> str:
    """What is known of the end of a launch whose `state.json` says that it runs."""
    process, alive = _process(content), _text(content, "alive_at")
    same_boot = process.boot_id is not None and process.boot_id == evidence.own.boot_id
    same_host = process.host == evidence.own.host
    restarted = same_host and process.boot_id is not None and not same_boot
    until_s = min(evidence.booted_s, evidence.now_s) if restarted else evidence.now_s
    period = f"ended without noting how, {_period(alive, until_s)}"
    if process.pid < 0:
        return f"{period}: killed, or the machine ended. What it noted of itself does not show which."
    if same_boot and process.pid == evidence.own.pid:
        return f"{period}: in this very process, which could not write it."
    if _is_alive(process, evidence):
        return (
            f"noted no end, and its process {process.pid} still exists on this machine. It does not hold the "
            "run directory any more; if it still trains, stop it."
        )
    if same_boot:
        return (
            f"{period}: killed (SIGKILL), or ended by a crash in native code; the machine has not restarted "
            f"since. {_memory(content, evidence)}"
        )
    if restarted:
        return f"{period}: killed, or ended with the machine, which restarted at {_iso(evidence.booted_s)}."
    return (
        f"{period}: it was process {process.pid} on {process.host}, and this is {evidence.own.host}: whether "
        "it was killed or its machine ended is not known here. If locks do not reach from one host to the "
        f"other, it may still run: look for that process on {process.host}."
    )


def _memory(content: dict[str, Any], evidence: Evidence) -> str:
    """What the control group's counter is evidence of."""
    former = content.get("oom")
    group = _text(former, "group") if isinstance(former, dict) else None
    if not isinstance(former, dict) or group is None or not isinstance(former.get("kills"), int):
        return "Whether memory ran out is not known: its control group could not be read."
    count = evidence.oom_count(group)
    if isinstance(count, Absence) or count.inode != former.get("inode"):
        return "Whether memory ran out is not known: its control group is gone."
    before, now = former["kills"], count.kills
    if now > before:
        return (
            f"The OOM kills in its control group rose from {before} to {now} since its last sign of life: it "
            "is likely that memory ran out. Use a smaller batch_size or fewer num_workers, or more memory."
        )
    return f"It is not likely that memory ran out: the OOM kills in its control group are {now}, as before."


def _is_alive(process: RunProcess, evidence: Evidence) -> bool:
    """Whether another process than this one, the one that is noted, is seen on this machine."""
    return (
        process.boot_id is not None
        and process.boot_id == evidence.own.boot_id
        and process.pid != evidence.own.pid
        and process.start_ticks is not None
        and evidence.start_ticks(process.pid) == process.start_ticks
    )


def _process(content: dict[str, Any]) -> RunProcess:
    """Who ran, with a negative pid if that was not noted: by an earlier version, or after an edit by hand."""
    noted = content.get("process")
    noted = noted if isinstance(noted, dict) else {}
    pid, ticks = noted.get("pid"), noted.get("start_ticks")
    return RunProcess(
        pid if isinstance(pid, int) else -1,
        _text(noted, "host") or "",
        _text(noted, "boot_id"),
        ticks if isinstance(ticks, int) else None,
    )


def _period(alive: str | None, until_s: float) -> str:
    if alive is None:
        return f"at an unknown time before {_iso(until_s)}"
    try:
        later = datetime.datetime.fromisoformat(alive).timestamp() <= until_s
    except ValueError:
        return f"at an unknown time before {_iso(until_s)}"
    # Clocks of two machines may differ.
    return f"between {alive} and {_iso(until_s)}" if later else f"after {alive}"


def _text(content: dict[str, Any], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) else None


def _iso(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s, datetime.UTC).isoformat(timespec="seconds")
