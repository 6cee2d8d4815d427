"""The reports of ranks that end, for the others: over the store, which outlives their groups.

torch prints a stack of its own at each use of a store that is gone: so it is used only once then.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from torch.distributed import Store  # type: ignore[attr-defined]  # public, but not in torch's __all__

from pylon.runners.errors import PeerLostError

_WITHIN_S = 2.0
# Of a message or a traceback, in characters; a report of two such texts is smaller than its limit.
_MOST_TEXT = 100_000
_MOST_BYTES = 2**21
_REPORT = "ended/{}"
_RECEIVED = "received/{}"


class Reports:
    """The reports of all ranks of a launch.

    Args:
        store: of this launch alone.
        rank: of this process.
        size: how many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store = store
        self._rank = rank
        self._size = size
        self._parent = os.getppid()
        self._lost = False

    def publish(self, error: BaseException) -> None:
        """Report why this rank ends."""
        report = {
            "message": str(error)[:_MOST_TEXT],
            "traceback": "".join(traceback.format_exception(error))[-_MOST_TEXT:],
            "is_cause": not isinstance(error, PeerLostError),
        }
        self._set(_REPORT.format(self._rank), json.dumps(report))

    def of(self, ranks: Iterable[int], *, causes: bool = False) -> dict[int, dict[str, Any]]:
        """What ended ranks of these have reported, as soon as one has; waits only a moment.

        Args:
            ranks: who is asked.
            causes: leave out those that have but noticed that another one is gone.

        Returns:
            `message` and `traceback` of each.
        """
        found: dict[int, dict[str, Any]] = {}

        def look() -> bool:
            for rank in ranks:
                if self._store.check([_REPORT.format(rank)]):
                    report = _read(self._store.get(_REPORT.format(rank)))
                    if report["is_cause"] or not causes:
                        found[rank] = report
            return bool(found)

        self._wait_for(look)
        return found

    def note_heard(self) -> None:
        """Report that this rank needs the store no more."""
        self._set(_RECEIVED.format(self._rank), "")

    def wait_until_heard(self) -> None:
        """Wait a moment for the others if the store ends with this process."""
        received = [_RECEIVED.format(rank) for rank in range(self._size) if rank != self._rank]
        self._wait_for(lambda: self._store.check(received))

    @property
    def _is_lost(self) -> bool:
        # torchrun's agent, which may hold it.
        return self._lost or os.getppid() != self._parent

    def _wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + _WITHIN_S
        try:
            while not self._is_lost and not condition() and time.monotonic() < until:
                time.sleep(0.05)
        except RuntimeError:
            self._lost = True

    def _set(self, key: str, value: str) -> None:
        if self._is_lost:
            return
        try:
            self._store.set(key, value)
        except RuntimeError:
            self._lost = True


def _read(content: bytes) -> dict[str, Any]:
    """A report from the store, to which others may write: in place of one that is none, a remark."""
    try:
        report = json.loads(content) if len(content) <= _MOST_BYTES else None
    except (ValueError, RecursionError):
        report = None
    if not isinstance(report, dict):
        report = {}
    message, trace = (_printable(report.get(name)) for name in ("message", "traceback"))
    if message is None or trace is None:
        return {"message": "its report cannot be read", "traceback": "", "is_cause": True}
    return {"message": message, "traceback": trace, "is_cause": report.get("is_cause") is True}


def _printable(text: object) -> str | None:
    """A text of several lines without characters that control a terminal; None if it is no text."""
    if not isinstance(text, str):
        return None
    return "".join(one if one.isprintable() or one in "\n\t" else "?" for one in text[:_MOST_TEXT])
