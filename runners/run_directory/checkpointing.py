"""When a run saves in the middle of an epoch, and on which thread."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Checkpointing:
    """When checkpoints are made in addition to those of the epochs' ends, and how they are written.

    Args:
        every_steps: also save after every so many steps of the run; None: at the epochs' ends only.
        every_minutes: also save if the last save is so many minutes ago; None: at the epochs' ends only.
        asynchronous: write checkpoints in a thread while the training continues.
    """

    every_steps: int | None = None
    every_minutes: float | None = None
    asynchronous: bool = False

    def __post_init__(self) -> None:
        """Refuse an interval that is not above 0."""
        for name in ("every_steps", "every_minutes"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: {value}, expected more than 0, or None")
