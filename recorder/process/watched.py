"""The process whose end is recorded: the one that has started the recorder, or a command that it runs."""

import contextlib
import os
import select
import time
from collections.abc import Mapping
from typing import Any

from pylon.recorder.channel import start_ticks
from pylon.recorder.endings import ExitStatus, exit_status

_STATUS_WITHIN_S = 0.8


class Watched:
    """A process, and how it ended.

    Args:
        pid: of the process.
        descriptor: readable once it has ended; None if there is none.

    Attributes:
        pid, ticks: its number, and when it was started.
    """

    def __init__(self, pid: int, descriptor: int | None) -> None:
        self.pid = pid
        self._descriptor = descriptor
        self.ticks = start_ticks(pid)

    def change(self, detail: Mapping[str, Any]) -> None:
        """Watch another one instead: the command that the first one runs.

        Args:
            detail: its `pid` and `start_ticks`.
        """
        pid, ticks = detail.get("pid"), detail.get("start_ticks")
        if not isinstance(pid, int) or not isinstance(ticks, int):
            return
        descriptor = None
        with contextlib.suppress(OSError, AttributeError):
            descriptor = os.pidfd_open(pid)
        if start_ticks(pid) not in {ticks, None}:
            return  # the number is another process's by now
        self.pid, self.ticks, self._descriptor = pid, ticks, descriptor

    def status(self) -> ExitStatus | None:
        """How it ended; None if it has not, or if that is not observable. Waits for it for a moment."""
        until_s = time.monotonic() + _STATUS_WITHIN_S
        while start_ticks(self.pid) == self.ticks and time.monotonic() < until_s:
            if self._descriptor is None:
                time.sleep(0.01)
                continue
            poll = select.poll()
            poll.register(self._descriptor, select.POLLIN)
            poll.poll(max(0.0, until_s - time.monotonic()) * 1000)
            break
        return exit_status(self._descriptor, self.pid, self.ticks, max(0.0, until_s - time.monotonic()))

    def runs(self) -> bool:
        """Whether it still runs."""
        return self.ticks is not None and start_ticks(self.pid) == self.ticks
