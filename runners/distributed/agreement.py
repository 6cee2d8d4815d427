"""A stop request that all ranks see at the same place, however the signals reached them."""

import signal

from runners.distributed.world import World
from runners.errors import RunStopped
from runners.signals import StopFlag


class AgreedStop:
    """Whether the run is asked to stop, and to save: the same answer on every rank.

    A rank that left its loop alone would let the others wait for it for ever. So each look is a meeting of
    all ranks, at the same places of the program on each; with one process it costs nothing.

    Args:
        flag: what this process's signals set.
        world: the ranks.
    """

    def __init__(self, flag: StopFlag, world: World) -> None:
        self._flag = flag
        self._world = world
        self._signal_name: str | None = None

    @property
    def agreed(self) -> bool:
        """Whether a stop was agreed on, at the last look or before; asks nobody."""
        return self._signal_name is not None

    def look(self, *, save: bool = False) -> bool:
        """Agree with all ranks on whether the run stops.

        Args:
            save: whether this rank finds a save due.

        Returns:
            Whether any of them does.
        """
        name = self._flag.signal_name
        number, wanted = self._world.maximum([signal.Signals[name] if name else 0, int(save)])
        if number and self._signal_name is None:
            self._signal_name = signal.Signals(number).name
        return bool(wanted)

    def raise_if_agreed(self) -> None:
        """End the current loop. Raises RunStopped, naming the signal, once a stop was agreed on."""
        if self._signal_name is not None:
            raise RunStopped(self._signal_name)

    def raise_if_requested(self) -> None:
        """Look, and end the current loop where a stop is agreed on.

        Raises:
            RunStopped: naming the signal.
        """
        self.look()
        self.raise_if_agreed()
