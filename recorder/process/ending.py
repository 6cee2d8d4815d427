"""The end of a launch: all that is known of it is gathered, judged, and made a row."""

import dataclasses
import json
import os
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pylon.masking import masked_text
from pylon.monitor import XidEvent
from pylon.recorder.channel import MarkRecord
from pylon.recorder.endings import (
    Evidence,
    ExitStatus,
    Hang,
    Judgement,
    MemoryCounter,
    MemoryCounts,
    Seen,
    StopRequest,
    advice,
    judge,
    killed_in_log,
)
from pylon.recorder.history import EndingRow
from pylon.recorder.process.specification import RecordSpec
from pylon.recorder.process.watched import Watched

# To free a killed process's memory takes the kernel up to some seconds, in which its count has risen already.
_BEFORE_S = 8.0
_LOG_S = 30.0
_SHARED_MEMORY = "/dev/shm"
_FULL_BYTES = 16 * 2**20
_DISK_FULL_BYTES = 2**20
_STICKY_S = 30.0
_XIDS_S = 60.0
_MOST_XIDS = 20
_MOST_REQUESTS = 20
_LONGEST_TEXT = 16_000


class Ended:
    """What is noted on the way, in case this was the end.

    Args:
        begun: what the kernel counted at the begin.

    Attributes:
        begun: the same.
        last: the last look at the memory.
        hang: in which the launch is; None: it takes its steps.
        xids: what GPUs have reported, the newest last.
    """

    def __init__(self, begun: MemoryCounts) -> None:
        self.begun = begun
        self.last = begun
        self.hang: Hang | None = None
        self.xids: deque[XidEvent] = deque(maxlen=_MOST_XIDS)
        self._requests: list[tuple[float, str | None, str, bool]] = []
        self._shared_memory_full_s: float | None = None

    def note_request(self, mark: MarkRecord) -> None:
        """A request to stop that a program has noted."""
        name, by, own = (mark.detail.get(key) for key in ("signal", "by", "own"))
        request = (
            mark.monotonic_s,
            name if isinstance(name, str) else None,
            by if isinstance(by, str) else "program",
            own is True,
        )
        self._requests = [*self._requests[-_MOST_REQUESTS:], request]

    def recorder_asked(self, now_s: float) -> None:
        """SIGTERM has come to the recorder itself."""
        self._requests = [*self._requests[-_MOST_REQUESTS:], (now_s, "SIGTERM", "recorder", False)]

    def requests(self, now_s: float) -> tuple[StopRequest, ...]:
        """The requests, the newest last."""
        return tuple(
            StopRequest(max(0.0, now_s - at_s), name, by, own) for at_s, name, by, own in self._requests
        )

    def newest_xids(self, now_s: float) -> tuple[str, ...]:
        """What GPUs have reported in the last minute, in words."""
        return tuple(
            f"Xid {one.xid}" + (f" of GPU {one.uuid}" if one.uuid else "")
            for one in self.xids
            if now_s - one.monotonic_s < _XIDS_S
        )

    def look_at_shared_memory(self, now_s: float) -> None:
        """Whether /dev/shm is full: what filled it may be gone with the run."""
        try:
            there = os.statvfs(_SHARED_MEMORY)
        except OSError:
            return
        if there.f_blocks and there.f_bavail * there.f_frsize < _FULL_BYTES:
            self._shared_memory_full_s = now_s

    def shared_memory_was_full(self, now_s: float) -> bool:
        """Whether it was, lately."""
        return self._shared_memory_full_s is not None and now_s - self._shared_memory_full_s < _STICKY_S


def ending_row(
    spec: RecordSpec,
    launch: int,
    at: float,
    ended: Ended,
    *,
    watched: Watched,
    words: Sequence[MarkRecord],
    counts: Sequence[MemoryCounts],
    memory: MemoryCounter,
    crash: str | None,
    lost_gpus: Sequence[str],
    running: bool,
    supervisor_ended: bool,
) -> EndingRow:
    """How a launch ended.

    Args:
        spec: of the record.
        launch: its number.
        at: the time of the record.
        ended: what was noted on the way.
        watched: the process.
        words: the last words of all who write to the channel.
        counts: what the kernel counted in the last minute.
        memory: reads that once more.
        crash: what a crash handler has written.
        lost_gpus: that the driver had lost shortly before.
        running: the process goes on; only its recording has ended.
        supervisor_ended: the monitors' supervisor is gone too.
    """
    now_s = time.monotonic()
    parent = _parents_word(words)
    status = parent or (None if running else watched.status())
    after = memory.read()
    before = next(
        (one for one in reversed(counts) if after.monotonic_s - one.monotonic_s > _BEFORE_S), counts[0]
    )
    seen = Seen(
        status=status,
        word=_merged(words),
        running=(running and parent is None) or (status is None and watched.runs()),
        stop_requests=ended.requests(now_s),
        begun=ended.begun,
        before=before,
        after=after,
        last=ended.last,
        killed_in_log=_log(status, now_s),
        pid=watched.pid,
        hang=ended.hang,
        lost_gpus=tuple(lost_gpus),
        xids=ended.newest_xids(now_s),
        shared_memory_full=ended.shared_memory_was_full(now_s),
        disk_full=_is_full(Path(spec.path).parent),
        crash=crash,
        supervisor_ended=supervisor_ended,
        reports_its_end=spec.launch.kind != "wrapper",
    )
    return _row(judge(seen), spec, launch, at)


def _row(judgement: Judgement, spec: RecordSpec, launch: int, at: float) -> EndingRow:
    def shown(text: str | None) -> str | None:
        return None if text is None else masked_text(text[-_LONGEST_TEXT:], spec.secrets)

    evidence = [dataclasses.asdict(_masked(one, spec)) for one in judgement.evidence]
    return EndingRow(
        launch,
        at,
        judgement.state,
        judgement.cause,
        judgement.certainty,
        judgement.source,
        judgement.exit_code,
        judgement.signal,
        json.dumps(evidence, default=str),
        advice(judgement.cause),
        shown(judgement.last_lines),
        shown(judgement.traceback),
    )


def _masked(one: Evidence, spec: RecordSpec) -> Evidence:
    value = masked_text(one.value, spec.secrets) if isinstance(one.value, str) else one.value
    return Evidence(masked_text(one.text, spec.secrets), one.kind, value)


def _parents_word(words: Sequence[MarkRecord]) -> ExitStatus | None:
    """What the parent of the recorded command, which has waited for it, reports."""
    for word in words:
        if word.detail.get("source") != "parent":
            continue
        code, number = word.detail.get("exit_code"), word.detail.get("signal")
        if isinstance(number, int) and number > 0:
            return ExitStatus(None, number, "parent")
        if isinstance(code, int):
            return ExitStatus(code, None, "parent")
    return None


def _merged(words: Sequence[MarkRecord]) -> dict[str, Any] | None:
    """The words of all writers as one: what the creator has not stated, the first to fail may have.

    An exception that another one reports without a state may have been caught.
    """
    merged: dict[str, Any] = {}
    for word in sorted(words, key=lambda one: (one.slot != 0, one.monotonic_s)):
        known = {name: one for name, one in word.detail.items() if one is not None}
        if known.get("source") == "parent":
            known.pop("signal", None)
        merged = {**known, **merged}
    return merged or None


def _log(status: ExitStatus | None, now_s: float) -> tuple[tuple[int, str], ...] | None:
    """The kernel's log, if it may have the answer: reading it takes some milliseconds."""
    if status is not None and status.signal != 9:
        return None
    found = killed_in_log(now_s - _LOG_S)
    return None if found is None else tuple(found)


def _is_full(folder: Path) -> bool | None:
    try:
        disk = os.statvfs(folder)
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize < _DISK_FULL_BYTES
