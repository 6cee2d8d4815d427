"""Monitors whose processes do not want to end."""

import ctypes
import os
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

from pylon.monitor import BaseMonitor


class Deaf(BaseMonitor[int]):
    """Hangs in a reading without letting any other thread run, and is deaf to SIGTERM, but notes it."""

    def __init__(self, control: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._control = control

    def _init_status_structures(self) -> None:
        signal.signal(signal.SIGTERM, _ignore)
        # Written by the C part of the handler, which needs no turn of the interpreter.
        file = os.open(self._control.with_suffix(".sigterm"), os.O_CREAT | os.O_WRONLY | os.O_NONBLOCK)
        signal.set_wakeup_fd(file, warn_on_full_buffer=False)

    def _update_single_server(self, server: str) -> int:
        if self._control.read_text() == "hang":
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            # Unlike CDLL, PyDLL keeps the interpreter's lock, as a faulty extension does.
            ctypes.PyDLL(None).sleep(1000)
        return 1


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return


class LockHolder(BaseMonitor[int]):
    """Takes the lock inside its own Event, as a process does that is killed while it waits on it."""

    def __init__(self, control: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._control = control

    def _update_single_server(self, server: str) -> int:
        what = self._control.read_text()
        if what in {"hold", "hold and die"}:
            event = threading.current_thread()._stop_event  # type: ignore[attr-defined]
            event._cond.acquire()
            self._control.with_suffix(".held").touch()
            if what == "hold and die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(1000)
        return 1
