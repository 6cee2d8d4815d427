"""Why a reading of a server has failed, besides the errors of the connection itself.

RemoteError
├── ConnectingError          the connection is still being made
├── NoAnswerError            connected, but no answer came within the time limit
│   └── RejectedAnswerError  something came that is no answer
├── FloodError               far more came than an answer can be
└── ClosedHereError          this monitor is ending
"""

from pylon.monitor.errors import MonitorError


class RemoteError(MonitorError):
    """Base of what can go wrong with a reading of another machine."""


class ConnectingError(RemoteError):
    """The connection is still being made; the text says since when."""


class NoAnswerError(RemoteError):
    """The server is connected, but did not answer within the time limit."""


class RejectedAnswerError(NoAnswerError):
    """What came is no answer: damaged, cut, or of another program; the text says in which way."""


class FloodError(RemoteError):
    """Far more came than an answer can be."""


class ClosedHereError(RemoteError):
    """The monitor has let go of its connections: it is ending."""
