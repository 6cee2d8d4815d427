"""A stop that all ranks make at the same place, whichever of them got the signal.

signal ──> signalled (this rank)  ── agree(): all ranks meet ──> agreed (every rank) ──> RunStopped
"""

import contextlib
import os
import signal
from collections.abc import Callable

from pylon.runners.distributed.world import World
from pylon.runners.errors import RunStopped
from pylon.runners.signals import StopFlag


class AgreedStop:
    """Whether this rank is `signalled`, and whether all ranks have `agreed` to stop.

    If one rank left its loop alone, the others would wait for it without a limit. So all ranks meet in
    `agree`, at the same places of the program; with one process that costs nothing.

    The end of torchrun's agent counts as SIGHUP: no process is left that would end these ranks, and they
    would keep the run directory.

    Args:
        flag: what this process's signals set.
        world: the ranks.
    """

    def __init__(self, flag: StopFlag, world: World) -> None:
        self._flag = flag
        self._world = world
        self._agreed_on: str | None = None
        self._agent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None

    def installed(self) -> contextlib.AbstractContextManager[StopFlag]:
        """Handle the signals inside the block: see StopFlag."""
        return self._flag.installed()

    def on_signal(self, note: Callable[[str], None]) -> None:
        """Have the name of each signal that comes noted at once, in its handler: `note` must not wait."""
        self._flag.note = note

    @property
    def is_alone(self) -> bool:
        """Whether this is the only rank, so that it needs no other's agreement."""
        return self._world.size == 1

    @property
    def signalled(self) -> bool:
        """Whether this rank is asked to stop."""
        return self._signal_number() != 0

    @property
    def agreed(self) -> bool:
        """Whether the ranks have agreed to stop, at their newest meeting or before."""
        return self._agreed_on is not None

    def may_end_wait(self) -> bool:
        """Whether a wait that no other rank takes part in may end now: with several ranks it never may."""
        return self.is_alone and self.signalled

    def agree(self, *, save: bool = False) -> bool:
        """Let all ranks meet; they have `agreed` to stop if one of them is `signalled`.

        Args:
            save: whether this rank finds a save due.

        Returns:
            Whether any of them does.
        """
        number, wanted = self._world.maximum([self._signal_number(), int(save)])
        if number and self._agreed_on is None:
            self._agreed_on = signal.Signals(number).name
        return bool(wanted)

    def raise_if_agreed(self) -> None:
        """End the current loop: raises RunStopped, naming the signal, once the ranks have agreed."""
        if self._agreed_on is not None:
            raise RunStopped(self._agreed_on)

    def raise_if_signalled(self) -> None:
        """Let all ranks meet; raises RunStopped on each of them if one is `signalled`."""
        self.agree()
        self.raise_if_agreed()

    def _signal_number(self) -> int:
        """The number of the signal that asks this rank to stop, 0 for none."""
        if self._flag.signal_name is not None:
            return signal.Signals[self._flag.signal_name]
        return signal.SIGHUP if self._agent is not None and os.getppid() != self._agent else 0
