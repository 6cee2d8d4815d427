"""Monitors as a user writes them."""

import dataclasses
import enum
import math

from pylon.monitor import BaseMonitor


class Mood(enum.Enum):
    CALM = "calm"


@dataclasses.dataclass(frozen=True)
class ScratchStatus:
    used_percent: float
    free_bytes: int
    mood: Mood
    disks: list[dict[str, int]]
    unknown: None = None
    broken: float = math.nan


class ScratchMonitor(BaseMonitor[ScratchStatus]):
    """Reads at once."""

    def _update_single_server(self, server: str) -> ScratchStatus:
        return ScratchStatus(43.25, 1024, Mood.CALM, [{"inodes": 7}])


class FailingMonitor(BaseMonitor[int]):
    """Cannot read."""

    def _update_single_server(self, server: str) -> int:
        raise OSError("no such mount")


class DemandingMonitor(BaseMonitor[int]):
    """Cannot be made without arguments."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def _update_single_server(self, server: str) -> int:
        return 1
