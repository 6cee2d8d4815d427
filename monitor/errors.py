"""Errors that a user of the monitors can see.

MonitorError
├── MonitorSettingError     an argument is out of range
├── MonitorClassError       a monitor class that another process cannot import
└── ReportsGoneError        of a companion process: its monitors have ended
"""


class MonitorError(Exception):
    """Base of all monitor errors."""


class MonitorSettingError(MonitorError, ValueError):
    """An argument is out of range; the text names it, the value and what was expected."""


class MonitorClassError(MonitorError, TypeError):
    """A monitor class cannot be started in a process of its own; the text says why and what to do."""


class ReportsGoneError(MonitorError):
    """There will be no further reports: the Manager or the supervisor has ended."""
