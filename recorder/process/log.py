"""The log of the run, to which the recorder adds what the run itself may not be able to say any more."""

import contextlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pylon.masking import masked_text
from pylon.storage import PlantedError, open_unlinked

_FORM = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class RunLog(logging.Handler):
    """Adds whole lines to a file that the run writes too; what the file does not take is lost.

    Args:
        path: of the file, which must exist.
        secrets: what is masked.
    """

    def __init__(self, path: Path, secrets: Sequence[str]) -> None:
        super().__init__(logging.INFO)
        self._path = path
        self._secrets = secrets
        self.setFormatter(logging.Formatter(_FORM))

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record in one piece, behind what is there."""
        line = masked_text(self.format(record), self._secrets) + "\n"
        with contextlib.suppress(OSError, PlantedError):
            descriptor = open_unlinked(self._path, os.O_WRONLY | os.O_APPEND)
            try:
                os.write(descriptor, line.encode("utf-8", "backslashreplace"))
            finally:
                os.close(descriptor)


def log_to(path: str | None, secrets: Sequence[str]) -> None:
    """Have what the recorder logs written to the run's log; None: it has none."""
    if path is not None:
        recorder = logging.getLogger("pylon.recorder")
        recorder.addHandler(RunLog(Path(path), secrets))
        recorder.setLevel(logging.INFO)
