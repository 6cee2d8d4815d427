"""A stop request that all ranks see at the same place, however the signals reached them."""

import contextlib
import os
import signal
from collections.abc import Callable

from pylon.runners.distributed.world import World
from pylon.runners.errors import RunStopped
from pylon.runners.signals import StopFlag


class AgreedStop:
    """Whether the run is asked to stop, and to save: the same answer on every rank.

    A rank that left its loop alone would let the others wait for it without a limit. So each look is a
    meeting of all ranks, at the same places of the program on each; with one process it costs nothing.

    The end of torchrun's agent asks for a stop too, as SIGHUP: nothing would end these ranks any more, and
    they would keep the run directory.

    Args:
        flag: what this process's signals set.
        world: the ranks.
    """

    def __init__(self, flag: StopFlag, world: World) -> None:
        self._flag = flag
        self._world = world
        self._signal_name: str | None = None
        self._agent = os.getppid() if "TORCHELASTIC_RUN_ID" in os.environ else None

    def installed(self) -> contextlib.AbstractContextManager[StopFlag]:
        """Handle the signals inside the block: see StopFlag."""
        return self._flag.installed()

    @property
    def is_alone(self) -> bool:
        """Whether this is the only rank, so that what it does needs no agreement."""
        return self._world.size == 1

    def while_alone(self, end: Callable[[], None]) -> tuple[Callable[[], bool], Callable[[], None]]:
        """What may end a wait that no other rank takes part in: whether a stop is requested, and the end.

        Of several ranks none may end a wait alone: the others wait for it in the step. It continues then.

        Args:
            end: called once the stop is agreed on; raises.
        """

        def asked() -> bool:
            return self.is_alone and self._asked() != 0

        def agree_and_end() -> None:
            self.look()
            end()

        return asked, agree_and_end

    @property
    def agreed(self) -> bool:
        """Whether a stop was agreed on, at the last look or before; no communication."""
        return self._signal_name is not None

    def look(self, *, save: bool = False) -> bool:
        """Agree with all ranks on whether the run stops.

        Args:
            save: whether this rank finds a save due.

        Returns:
            Whether any of them does.
        """
        number, wanted = self._world.maximum([self._asked(), int(save)])
        if number and self._signal_name is None:
            self._signal_name = signal.Signals(number).name
        return bool(wanted)

    def _asked(self) -> int:
        """The number of the signal that asks this rank to stop, 0 for none."""
        if self._flag.signal_name is not None:
            return signal.Signals[self._flag.signal_name]
        return signal.SIGHUP if self._agent is not None and os.getppid() != self._agent else 0

    def raise_if_agreed(self) -> None:
        """End the current loop. Raises RunStopped, naming the signal, once a stop was agreed on."""
        if self._signal_name is not None:
            raise RunStopped(self._signal_name)

    def raise_if_requested(self) -> None:
        """Look, and end the current loop if a stop is agreed on.

        Raises:
            RunStopped: naming the signal.
        """
        self.look()
        self.raise_if_agreed()
