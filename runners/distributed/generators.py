"""The random generators of all ranks, as one part of a checkpoint."""

import contextlib
from collections.abc import Iterator
from typing import Any

from pylon.data.seeding import datapoint_seed
from pylon.runners.distributed.world import World
from pylon.runners.randomness import RandomState


def rank_seed(seed: int, rank: int) -> int:
    """The seed of one rank's generators: the first rank's is the run's own, the others' are unrelated.

    Dropout must not be the same on all ranks, and with one process nothing may depend on there being ranks.
    """
    return seed if rank == 0 else datapoint_seed(seed, -1 - rank)


class AllGenerators:
    """Every rank's generators; with one process exactly that process's.

    Args:
        own: of this process.
        world: the ranks.
    """

    def __init__(self, own: RandomState, world: World) -> None:
        self._own = own
        self._world = world
        self._held: dict[str, Any] | None = None

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let `state_dict` give the state of now throughout the block, without a meeting of the ranks."""
        self._held = self.state_dict()
        try:
            yield
        finally:
            self._held = None

    def state_dict(self) -> dict[str, Any]:
        """The state of all ranks' generators; each rank must ask at the same time, unless it is `held`."""
        if self._held is not None:
            return self._held
        self._own.look()
        if self._world.size == 1:
            return self._own.state_dict()
        return {"ranks": self._world.gather(self._own.state_dict())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore this rank's generators."""
        self._own.load_state_dict(
            state_dict["ranks"][self._world.rank] if "ranks" in state_dict else state_dict
        )
