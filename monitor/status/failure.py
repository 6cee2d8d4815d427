"""Failures, typed: for health reports and for the log."""

import enum
from dataclasses import dataclass

# A driver's or a shell's answer can be of any length; it is in every health report.
_LONGEST_TEXT = 500


class ProcessFailure(enum.Enum):
    """Why a process of the monitors was replaced.

    ended         it ended without a request: a crash, a signal, the kernel's memory killer
    hung          a reading took longer than `timeout_s`
    silent        it sent no heartbeat
    not_started   it could not be started, or did not come up in time
    manager_gone  the process that it reports to is gone
    over_limit    it used more than its ResourceLimits, even after it was slowed down
    unkillable    it is stuck in the kernel: nothing ends it, and nothing is started in its place
    torn          what it sent could not be read
    """

    ENDED = "ended"
    HUNG = "hung"
    SILENT = "silent"
    NOT_STARTED = "not_started"
    MANAGER_GONE = "manager_gone"
    OVER_LIMIT = "over_limit"
    UNKILLABLE = "unkillable"
    TORN = "torn"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure.

    Attributes:
        kind: the exception's class name if a reading failed; a ProcessFailure's value if a
            process was replaced.
        text: its message.
    """

    kind: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """The failure that an exception reports.

        A server or a driver may have put anything into its text: it is one line without control characters.
        """
        return cls(type(error).__name__, _one_line(str(error)))

    @classmethod
    def of_process(cls, kind: ProcessFailure, text: str) -> "Failure":
        """The failure of a process."""
        return cls(kind.value, text)


def _one_line(text: str) -> str:
    """`text` without what could end a line of a log or steer a terminal, and not too long."""
    return "".join(one if one.isprintable() else " " for one in text[:_LONGEST_TEXT])
