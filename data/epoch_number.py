"""The number of the epoch, for samplers and datasets that ask for it by a method `set_epoch`."""

from typing import Any


class EpochNumber:
    """Gives one object the number of the epoch that it is asked for next, once.

    By `set_epoch`, streams of Hugging Face's datasets, samplers and others learn in which order, or how hard,
    an epoch is to be.
    """

    def __init__(self) -> None:
        self._given: int | None = None

    def give(self, owner: Any, epoch: int | None) -> None:  # noqa: ANN401 - any sampler or dataset
        """Call `owner.set_epoch(epoch)` if there is such a method; with None, nothing happens.

        A batch sampler may leave it to its own sampler.
        """
        if epoch is None or epoch == self._given:
            return
        self._given = epoch
        if (one := _listener(owner)) is not None:
            one.set_epoch(epoch)

    def catch_up(self, owner: Any, epoch: int | None) -> None:  # noqa: ANN401 - the same
        """The same in a loader worker that has persisted, with an `owner` of its own, before it reads.

        Streams of Hugging Face's datasets share their number among processes, and it becomes wrong if two of
        them change it at once: one that has the number already is left alone.
        """
        if epoch != self._given and getattr(_listener(owner), "epoch", None) != epoch:
            self.give(owner, epoch)


def _listener(owner: Any) -> Any:  # noqa: ANN401 - any sampler or dataset
    """Who has the method; None if neither has."""
    found = (one for one in (owner, getattr(owner, "sampler", None)) if hasattr(one, "set_epoch"))
    return next(found, None)
