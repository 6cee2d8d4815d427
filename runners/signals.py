"""Stop requests: a signal sets a flag, and every loop of a run looks at it.

A handler that saved or raised in the middle of a step would see half an update. So the first
signal of those below only notes its name; the run ends itself at the next step boundary.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from pylon.signals import is_unused

_HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
# What LSF sends at the end of a job's time and of its CPU time, and some ask Slurm for; the first one also is
# what people use to look into a process that hangs.
_IF_UNUSED = (signal.SIGUSR2, signal.SIGXCPU)


class StopFlag:
    """Whether a signal has asked this process to stop.

    Attributes:
        signal_name: the newest such signal ('SIGTERM', 'SIGINT', 'SIGUSR1', 'SIGHUP', 'SIGUSR2', 'SIGXCPU'),
            or None.
        interrupts: how many SIGINT have come; the second raises KeyboardInterrupt.
        note: called in the handler with the name of each; None: nothing.
    """

    def __init__(self) -> None:
        self.note: Callable[[str], None] | None = None
        self.signal_name: str | None = None
        self.interrupts = 0

    @property
    def signalled(self) -> bool:
        """Whether a signal has come."""
        return self.signal_name is not None

    @contextlib.contextmanager
    def installed(self) -> Iterator["StopFlag"]:
        """Handle the signals inside the block, and restore the former handlers after it.

        Outside the main thread, where Python allows no handlers, the block runs without them.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        # A run that is started with nohup must outlive its terminal.
        handled = [*_HANDLED, *filter(is_unused, _IF_UNUSED)]
        handled = [one for one in handled if (one, signal.getsignal(one)) != (signal.SIGHUP, signal.SIG_IGN)]
        former = {number: signal.signal(number, self._handle) for number in handled}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.signal_name = signal.Signals(number).name
        if self.note is not None:
            self.note(self.signal_name)
        if number != signal.SIGINT:
            return
        self.interrupts += 1
        if self.interrupts == 2:
            raise KeyboardInterrupt
        if self.interrupts > 2:
            # The orderly end that the second Ctrl-C began hangs; monitors notice a death by themselves.
            os._exit(130)
