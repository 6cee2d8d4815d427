"""What a logger is: a service, or files of its format, that a run's losses, scores and figures go to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple


class LoggerError(Exception):
    """Something cannot be sent; the text names the reason and the fix."""


@dataclass(frozen=True, slots=True)
class Run:
    """The run whose record is sent, the same for all of its launches.

    Attributes:
        id: of letters and digits; a service that lets its caller choose an id gets this one.
        name: for people.
        folder: that holds the record.
        configuration: of the newest launch, without secrets; empty if it has none.
        about: host, command, ... of the newest launch, by name.
    """

    id: str
    name: str
    folder: Path
    configuration: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


class Scalars(NamedTuple):
    """Numbers of one moment.

    Attributes:
        row: counts what is sent of a run, from 1 on, over all of its launches.
        step: the newest step of the training at that time; 0 before the first one.
        t: Unix time.
        values: such as {'train/loss': 0.5}; all are finite.
    """

    row: int
    step: int
    t: float
    values: Mapping[str, float]


class Picture(NamedTuple):
    """A PNG file that the run has made."""

    row: int
    step: int
    t: float
    name: str
    path: str


class End(NamedTuple):
    """How a launch ended, as in EndingRow; another launch of the run may follow."""

    row: int
    step: int
    t: float
    state: str
    cause: str


Entry = Scalars | Picture | End


class Logger(ABC):
    """Sends the entries of one run, in a process of its own, in which alone its library is imported.

    A method may take long or raise whatever its library raises: then the process is ended, and the entries
    since the last `flush` are given to another one. Arguments of a constructor are plain values.

    Attributes:
        LIBRARY: the module that it needs.
        EXTRA: of Pylon, which installs it.
        CONFIRMS_BY_CLOSING: the library does not report what the service has before it is closed: entries
            are given to another process again until `close` has returned.
    """

    LIBRARY: ClassVar[str]
    EXTRA: ClassVar[str]
    CONFIRMS_BY_CLOSING: ClassVar[bool] = False

    @abstractmethod
    def open(self, run: Run, kept: Mapping[str, Any]) -> None:
        """Begin, or continue where an earlier process has ended.

        Args:
            run: what is sent.
            kept: what the last `flush` has given; empty at first.
        """

    @abstractmethod
    def scalars(self, entry: Scalars) -> None:
        """Send numbers."""

    @abstractmethod
    def picture(self, entry: Picture) -> None:
        """Send a picture."""

    @abstractmethod
    def end(self, entry: End) -> None:
        """Send how a launch ended."""

    def again(self, entries: Sequence[Entry]) -> None:  # noqa: B027 - most have no need of it
        """Prepare for entries that a process may have sent in part before it was killed.

        A service that knows a row by its number, or whose files are cut in `open`, has no need of this; any
        other is asked what it has.
        """

    @abstractmethod
    def flush(self) -> dict[str, Any]:
        """Wait until the service, or its own file, has all entries; see CONFIRMS_BY_CLOSING.

        Returns:
            What the next process needs to continue, as JSON has it.
        """

    @abstractmethod
    def close(self) -> dict[str, Any]:
        """End, with all entries sent; returns what `flush` does. Nothing is sent after this."""
