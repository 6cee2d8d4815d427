"""What can go wrong with an answer."""


class BusyError(Exception):
    """Too much is asked for at the same time."""


class SlowError(Exception):
    """An answer takes too long."""
