"""What the ranks that write no files print, and what the log of the others holds."""

import io
import logging
from logging.handlers import WatchedFileHandler
from pathlib import Path

import pytest
from rich.console import Console

from pylon.runners.logs import logging_to, warnings_of_rank


def test_warning_of_what_all_ranks_know_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("pylon.tests.ranks")
    with warnings_of_rank(1):
        logger.warning("its own")
        logger.warning("known to all", extra={"of_all_ranks": True})
    printed = capsys.readouterr().err
    assert "rank 1: its own" in printed
    assert "known to all" not in printed


def test_text_that_is_no_utf8_reaches_the_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As in the error of a file whose name has other bytes.
    record = logging.LogRecord("pylon", logging.ERROR, "", 0, "cannot open caf\udce9.png", (), None)
    with logging_to(tmp_path / "train.log", Console(file=io.StringIO())):
        for handler in logging.getLogger().handlers:
            if isinstance(handler, WatchedFileHandler):
                handler.handle(record)
    assert "cannot open caf\\udce9.png" in (tmp_path / "train.log").read_text(encoding="utf-8")
    assert capsys.readouterr().err == ""
