"""An orderly end of the command line on Ctrl-C, SIGTERM and SIGHUP: a flag, and a limit for what follows."""

import os
import signal
import time
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOOK_EVERY_S = 0.05
# The end takes `join_timeout_s` + 0.5 s. What takes longer is a reader of our output who does not read.
_END_WITHIN_S = 4.0


class Signals:
    """Notes the first signal; a second one, or an end that takes too long, ends the process at once.

    The monitors' processes notice that, and end with all that they hold, here and at the servers.
    """

    def __init__(self) -> None:
        self.number = 0
        self._former: dict[int, Any] = {}

    @property
    def exit_code(self) -> int:
        """As a shell reports it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number

    def wait(self, seconds: float) -> bool:
        """Wait so long, or until a signal has come; whether one has."""
        until_s = time.monotonic() + seconds
        while not self.number and (left_s := until_s - time.monotonic()) > 0:
            time.sleep(min(left_s, _LOOK_EVERY_S))
        return bool(self.number)

    def __enter__(self) -> Self:
        """Take the signals."""
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, self._note)
        self._former[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._give_up)
        return self

    def __exit__(self, *_: object) -> None:
        """Give them back."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self.number:
            os._exit(self.exit_code)
        self.number = number
        signal.setitimer(signal.ITIMER_REAL, _END_WITHIN_S)

    def _give_up(self, _number: int, _frame: FrameType | None) -> None:
        os._exit(self.exit_code)
