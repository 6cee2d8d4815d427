"""The destinations of log records: the run's file and the console; of several ranks, only the first one's."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from io import TextIOWrapper
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import TextIO, cast

from rich.console import Console
from rich.logging import RichHandler

from pylon.masking import masked_text
from pylon.storage import open_unlinked

# Of unexpected errors: for the run's file, not for the console.
tracebacks = logging.getLogger("pylon.runners.tracebacks")

# What such a terminal does with the codes that move its cursor is not known.
_TERMINALS_WITHOUT_CURSOR = {"", "dumb", "unknown"}


class _LogFile(WatchedFileHandler):
    """A log file that loses records on a full disk, instead of failing: the run itself reports why it ends.

    A file that is removed is created again. A link in its place is not followed.
    """

    def _open(self) -> TextIOWrapper:
        # Name and mode are those of the base class.
        flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
        descriptor = open_unlinked(Path(self.baseFilename), flags)
        return cast(
            TextIOWrapper, os.fdopen(descriptor, self.mode, encoding=self.encoding, errors=self.errors)
        )

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


class _ConsoleLines(logging.StreamHandler[TextIO]):
    """Lines for a reader who may go away, as `head` does: the run and its file continue without them."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Lose the record if the pipe is closed; anything else is a bug to be shown."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Masking(logging.Formatter):
    """Formats records, tracebacks included, without the secrets that are known."""

    def __init__(self, form: str, time_form: str | None = None, *, secrets: Sequence[str]) -> None:
        super().__init__(form, time_form)
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        """The text of a record."""
        return masked_text(super().format(record), self._secrets)


def console_handler(console: Console, secrets: Sequence[str] = ()) -> logging.Handler:
    """The log handler for people: through the live display on a terminal, plain text elsewhere.

    Args:
        console: where to.
        secrets: what is masked in records.
    """
    if moves_its_cursor(console):
        rich = RichHandler(console=console, show_path=False, log_time_format="%H:%M:%S", markup=False)
        rich.setFormatter(_Masking("%(message)s", secrets=secrets))
        return rich
    handler: logging.Handler = _ConsoleLines(cast(TextIO, console.file))
    handler.setFormatter(_Masking("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S", secrets=secrets))
    return handler


def moves_its_cursor(console: Console) -> bool:
    """Whether the console is a terminal that can draw over its lines."""
    return console.is_terminal and os.environ.get("TERM", "").lower() not in _TERMINALS_WITHOUT_CURSOR


@contextlib.contextmanager
def logging_to(path: Path | None, console: Console, secrets: Sequence[str] = ()) -> Iterator[None]:
    """Send log records to `console` and to the file `path` inside the block; warnings are records too.

    Args:
        path, console: where to; None: there is no file.
        secrets: what is masked in records.
    """
    to_console = console_handler(console, secrets)
    to_console.setLevel(logging.INFO)
    with _handlers(*([] if path is None else [_file_handler(path, secrets)]), to_console):
        yield


def _file_handler(path: Path, secrets: Sequence[str]) -> logging.Handler:
    # A file name that is no UTF-8 has surrogates, which no encoding takes.
    handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(_Masking("%(asctime)s %(levelname)s %(name)s: %(message)s", secrets=secrets))
    return handler


@contextlib.contextmanager
def warnings_of_rank(rank: int, secrets: Sequence[str] = ()) -> Iterator[None]:
    """Send the warnings of a rank that writes no files to standard error inside the block.

    Python's own, and those that all ranks have (`of_all_ranks`), are left out: the first rank has them too,
    and every rank would repeat them.
    """
    to_stderr = logging.StreamHandler()
    to_stderr.addFilter(
        lambda record: record.name != "py.warnings" and not getattr(record, "of_all_ranks", False)
    )
    to_stderr.setFormatter(
        _Masking(f"%(asctime)s %(levelname)s rank {rank}: %(message)s", "%H:%M:%S", secrets=secrets)
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
