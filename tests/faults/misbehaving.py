"""Monitors that do what collectors, drivers and libraries do in bad hours."""

import ctypes
import os
import sys
import time
from pathlib import Path
from typing import Any

from pylon.monitor import BaseMonitor


class OddError(Exception):
    """Cannot be made again from what it was made with, as pickle would try."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"odd {one} {two}")


ERRORS: dict[str, Exception] = {
    "ValueError": ValueError("no value"),
    "OSError": OSError(5, "Input/output error"),
    "MemoryError": MemoryError("none left"),
    "RecursionError": RecursionError("too deep"),
    "TimeoutError": TimeoutError("driver timed out"),
    "UnicodeError": UnicodeError("garbage"),
    "OddError": OddError(1, 2),
}


class Scripted(BaseMonitor[Any]):
    """Does in each reading what its control file says; gives the number of its readings.

    Args:
        control: names one of the `do_` methods below, or an error; 'well' where nothing is wrong.
    """

    def __init__(self, control: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._control = control
        self._readings = 0

    def _init_status_structures(self) -> None:
        if self._said() == "fail at start":
            raise RuntimeError("nothing to open")

    def _update_single_server(self, server: str) -> Any:
        self._readings += 1
        what = self._said()
        if what in ERRORS:
            raise ERRORS[what]
        if what == "well":
            return self._readings
        return getattr(self, f"do_{what}")()

    def _close(self) -> None:
        if self._said() == "hang_at_close":
            time.sleep(1000)

    def _said(self) -> str:
        return self._control.read_text()

    def do_hang(self) -> None:
        time.sleep(1000)

    def do_hang_at_close(self) -> int:
        return self._readings

    def do_segfault(self) -> None:
        ctypes.string_at(0)

    def do_leave(self) -> None:
        os._exit(3)

    def do_sys_exit(self) -> None:
        sys.exit(7)

    def do_close_everything(self) -> int:
        os.closerange(0, 256)
        return self._readings

    def do_flood(self) -> int:
        # Past Python's own streams, as a C library does it.
        for descriptor in (1, 2):
            for _ in range(64):
                os.write(descriptor, b"driver warning\n" * 4096)
        return self._readings

    def do_allocate(self) -> None:
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 10) * 1024))
            time.sleep(0.001)

    def do_gorge(self) -> None:
        # Faster than any supervisor looks.
        hoard = []
        while True:
            hoard.append(bytearray(64 << 20))

    def do_burn(self) -> int:
        until = time.monotonic() + 0.09
        while time.monotonic() < until:
            pass
        return self._readings

    def do_dawdle(self) -> int:
        time.sleep(0.25)
        return self._readings

    def do_unpicklable(self) -> Any:
        return lambda: None

    def do_huge(self) -> bytes:
        return bytes(1 << 20)

    def do_poison(self) -> "Poison":
        return Poison()


class Poison:
    """Breaks whoever unpickles it."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return _break, ("poisoned",)


def _break(text: str) -> None:
    raise RuntimeError(text)


class Ticker(BaseMonitor[int]):
    """Notes when each reading began, and takes a third of the interval."""

    def __init__(self, log: Path, **settings: Any) -> None:
        super().__init__(**settings)
        self._log = log

    def _update_single_server(self, server: str) -> int:
        with self._log.open("a") as file:
            file.write(f"{time.monotonic()}\n")
        time.sleep(self.interval_s / 3)
        return 1


class TwoServers(BaseMonitor[str]):
    """One server answers, the other hangs for ever."""

    def _get_servers_list(self) -> list[str]:
        return ["well", "hung"]

    def _update_single_server(self, server: str) -> str:
        if server == "hung":
            time.sleep(1000)
        return server
