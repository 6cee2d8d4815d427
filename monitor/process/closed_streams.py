"""Keeps what monitors log out of standard streams that the program has closed.

A line that cannot be written stays in the stream's buffer. The interpreter tries once more at its exit,
fails, and ends with exit code 120: the monitor would change how the program ends.
"""

import io
import logging
import os
import sys


def spare_closed_streams(record: logging.LogRecord) -> bool:
    """A filter of a logger: True if the record may take its usual way.

    Otherwise the record has been given here to the handlers that do not write to a closed standard stream.
    """
    logger = logging.getLogger(record.name)
    handlers = _handlers_of(logger)
    if not any(_writes_to_closed(handler) for handler in handlers):
        return True
    for handler in handlers:
        if not _writes_to_closed(handler) and record.levelno >= handler.level:
            handler.handle(record)
    return False


def _handlers_of(logger: logging.Logger | None) -> list[logging.Handler]:
    """All that a record of `logger` reaches, in the order of logging itself."""
    handlers: list[logging.Handler] = []
    while logger is not None:
        handlers += logger.handlers
        logger = logger.parent if logger.propagate else None
    if not handlers and logging.lastResort is not None:
        return [logging.lastResort]
    return handlers


def _writes_to_closed(handler: logging.Handler) -> bool:
    stream = handler.stream if isinstance(handler, logging.StreamHandler) else None
    if stream is None or stream not in (sys.stdout, sys.stderr):
        return False
    try:
        os.fstat(stream.fileno())
    except io.UnsupportedOperation:
        # A stream in memory, such as a notebook's or a test's.
        return False
    except (OSError, ValueError):
        # The descriptor was closed, or the stream itself.
        return True
    return False
