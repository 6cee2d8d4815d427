"""What the recorder's process is started with, and what it expects of the supervisor."""

from dataclasses import dataclass
from typing import Any, Protocol

from pylon.monitor import MonitorHealth, Observation
from pylon.recorder.history import LaunchRow


@dataclass(frozen=True, slots=True)
class RecordSpec:
    """What to record.

    Attributes:
        path: of the history file.
        launch: the launch as its row.
        hang_after_s: how long without a step is a hang at least; None: hangs are not looked for.
        secrets: of the configuration, masked in all texts.
        notify: addresses that alerts are sent to.
        log: the log of the run, to which alerts are added; None: it has none.
    """

    path: str
    launch: LaunchRow
    hang_after_s: float | None
    secrets: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    log: str | None = None


class Context(Protocol):
    """What the supervisor gives to its companion; see pylon.monitor."""

    run_pid: int
    descriptor: int
    interval_s: float
    stop_descriptor: int
    run_descriptor: int | None

    @property
    def slowdown(self) -> float:
        """By what the interval is multiplied."""

    def ready(self) -> None:
        """Show that all modules are read."""

    def alive(self) -> None:
        """Give a sign of life."""

    def done(self) -> None:
        """Show that the end is noted."""

    def asked_to_end(self) -> bool:
        """Whether this process shall end."""

    def run_ended(self) -> bool:
        """Whether the run has ended."""

    def supervisor_ended(self) -> bool:
        """Whether the supervisor has ended before its time."""

    def health(self) -> dict[str, MonitorHealth] | None:
        """The health of all processes; None if it is as before."""

    def new_reports(self) -> bool:
        """Take up new reports; may wait."""

    def observations(self) -> dict[str, dict[str, Observation[Any]]]:
        """What was last reported, by monitor and server."""
