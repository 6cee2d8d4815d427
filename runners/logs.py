"""The destinations of log records: the run's file and the console; of several ranks, only the first one's."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from logging.handlers import WatchedFileHandler
from pathlib import Path

from rich.console import Console

from pylon.runners.outputs.display import console_handler

# Of unexpected errors: for the run's file, not for the console.
tracebacks = logging.getLogger("pylon.runners.tracebacks")


class _LogFile(WatchedFileHandler):
    """A log file that loses records on a full disk, instead of failing: the run itself reports why it ends.

    A file that is removed is created again.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record."""
        try:
            super().emit(record)
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the record if the disk refuses it; anything else is a bug to be shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)

    def close(self) -> None:
        """Close the file, whatever it still holds."""
        with contextlib.suppress(OSError):
            super().close()


@contextlib.contextmanager
def logging_to(path: Path, console: Console) -> Iterator[None]:
    """Send log records to `console` and to the file `path` inside the block; warnings are records too."""
    to_file = _LogFile(path, encoding="utf-8")
    to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    to_console = console_handler(console)
    to_console.setLevel(logging.INFO)
    with _handlers(to_file, to_console):
        yield


@contextlib.contextmanager
def warnings_of_rank(rank: int) -> Iterator[None]:
    """Send the warnings of a rank that writes no files to standard error inside the block.

    Python's own are left out: the first rank has them too, and every rank would repeat them.
    """
    to_stderr = logging.StreamHandler()
    to_stderr.addFilter(lambda record: record.name != "py.warnings")
    to_stderr.setFormatter(
        logging.Formatter(f"%(asctime)s %(levelname)s rank {rank}: %(message)s", "%H:%M:%S")
    )
    to_stderr.setLevel(logging.WARNING)
    with _handlers(to_stderr):
        yield


@contextlib.contextmanager
def _handlers(*handlers: logging.Handler) -> Iterator[None]:
    root = logging.getLogger()
    former_level = root.level
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(logging.INFO)
    tracebacks.setLevel(logging.DEBUG)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.setLevel(former_level)
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
