"""The figures of the other machines' monitors, for the one rank that writes."""

import platform
from collections.abc import Callable
from typing import Any, Protocol

from pylon.runners.distributed.world import World


class Snapshot(Protocol):
    """What is read of a monitor's snapshot."""

    @property
    def sequence(self) -> int:
        """Grows by one with each refresh."""

    def as_record(self) -> dict[str, Any]:
        """Flat JSON-ready figures."""


class OtherMachines:
    """Brings each other machine's newest figures to all ranks.

    Args:
        world: the ranks.
        latest: the newest snapshot of this machine's monitor; None if this rank has none.
    """

    def __init__(self, world: World, latest: Callable[[], Snapshot | None]) -> None:
        self._world = world
        self._latest = latest
        self._sequence = -1

    def figures(self) -> list[dict[str, Any]]:
        """`host`, `rank` and `monitor` of each other machine whose monitor has refreshed since the last call.

        Every rank must call at the same time. With one machine, there is no communication.
        """
        if self._world.machines == 1:
            return []
        return [one for one in self._world.gather(self._own())[1:] if one is not None]

    def _own(self) -> dict[str, Any] | None:
        snapshot = self._latest()
        if snapshot is None or snapshot.sequence == self._sequence:
            return None
        self._sequence = snapshot.sequence
        return {"host": platform.node(), "rank": self._world.rank, "monitor": snapshot.as_record()}
