"""What can end a run short of its end.

    PylonError                exit code
    ├── ConfigError               2    the command line or a configuration is wrong
    ├── RunDirectoryError         4    in use, of another configuration, damaged, not writable, disk full;
    │   │                              a checkpoint to start from that is absent, damaged or does not fit
    │   └── ReadOnlyError         4    it can be read at most
    ├── RunStopped               75    a signal requested it; the same command resumes
    ├── TrainingError             1    the training itself failed
    │   ├── PeerLostError         1    another rank of the run has ended
    │   └── ForeignMessageError   1    what came from a rank was not sent by a rank of this Pylon
    └── EndedByPeerError       its     another rank has failed, and reports why

Exit code 0 is a run that finished (or was finished), 3 missing or damaged data (`data.errors`),
130 the second Ctrl-C.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pylon import masking


class PylonError(Exception):
    """Base of all errors whose text is meant for the user as it is."""

    exit_code: ClassVar[int] = 1


@dataclass(frozen=True)
class ConfigProblem:
    """One thing wrong with a configuration.

    Attributes:
        key_path: where, as in 'optimizer.args.lr'.
        value: the value there, as text; None if something is missing.
        expected: what is expected there, and how to fix it.
    """

    key_path: str
    value: str | None
    expected: str

    def __str__(self) -> str:
        """One line, in which no secret is shown."""
        seen = "" if self.value is None else f" is {_without_secret(self.key_path, self.value)}"
        return f"{self.key_path}{seen}: {self.expected}"


def _without_secret(key_path: str, text: str) -> str:
    is_secret = text not in {"None", "True", "False"} and masking.is_secret(key_path, text.strip("'\""))
    return masking.MASK if is_secret else masking.masked_text(text)


class ConfigError(PylonError):
    """A configuration is wrong, with every problem found.

    Args:
        source: the file, or what else the problems were found in.
        problems: at least one.
    """

    exit_code = 2

    def __init__(self, source: Path | str, problems: Sequence[ConfigProblem]) -> None:
        self.source = source
        self.problems = list(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in self.problems)]))

    @classmethod
    def single(
        cls, key_path: str, value: object, expected: str, source: Path | str = "command line"
    ) -> "ConfigError":
        """An error with one problem."""
        return cls(source, [ConfigProblem(key_path, repr(value), f"expected {expected}")])


class RunDirectoryError(PylonError):
    """The run directory, or a checkpoint of another one, cannot be used as it is."""

    exit_code = 4


class ReadOnlyError(RunDirectoryError):
    """Nothing can be written in the run directory: by its file system, or by its permissions."""


class RunStopped(PylonError):  # noqa: N818 - a request, not an error
    """A signal asked the run to stop, and it did at the next step.

    Args:
        signal_name: such as 'SIGTERM'.
        then: what the same command does then.
    """

    exit_code = 75

    def __init__(self, signal_name: str, then: str = "the same command goes on with it") -> None:
        self.signal_name = signal_name
        super().__init__(f"Stopped by {signal_name}; {then}.")


class TrainingError(PylonError):
    """The training itself failed: a loss that is no number, or user code that raised."""

    exit_code = 1


class PeerLostError(TrainingError):
    """Another rank of a run on many devices is gone, or cannot be reached.

    Args:
        message: for the user.
        traceback: of what that rank did not expect, for the log.
    """

    def __init__(self, message: str, traceback: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback


class ForeignMessageError(TrainingError):
    """What came from another rank is no message of Pylon. Nothing in it is executed.

    Args:
        rank: where it came from.
        what: is wrong with it.
    """

    def __init__(self, rank: int, what: str) -> None:
        super().__init__(
            f"rank {rank} sent what is no message of Pylon ({what[:200]}): another version of Pylon or "
            "another program takes part in this run. Install one version for all ranks, and let them "
            "meet at an address that only they can reach (docs/distributed.md)."
        )


class EndedByPeerError(PylonError):
    """This rank ends because another one has failed, which reports why.

    Args:
        exit_code: the other one's.
    """

    def __init__(self, exit_code: int) -> None:
        super().__init__("")
        self.exit_code = exit_code  # type: ignore[misc]  # of the class for every other error
