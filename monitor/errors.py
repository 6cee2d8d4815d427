"""Errors that a user of the monitors can see.

MonitorError
├── MonitorSettingError     an argument is out of range
└── MonitorClassError       a monitor class that another process cannot import
"""


class MonitorError(Exception):
    """Base of all monitor errors."""


class MonitorSettingError(MonitorError, ValueError):
    """An argument is out of range; the text names it, the value and what was expected."""


class MonitorClassError(MonitorError, TypeError):
    """A monitor class cannot be started in a process of its own; the text says why and what to do."""
