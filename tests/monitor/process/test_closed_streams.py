"""What monitors log does not go to standard streams that the program has closed, and still goes elsewhere."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
# Logs one line as a monitor does, after what {before} has done.
_PROGRAM = """
import logging, os, sys
from pylon.monitor.process.closed_streams import spare_closed_streams
logger = logging.getLogger("monitor")
logger.addFilter(spare_closed_streams)
{before}
logger.warning("the line")
"""
_CLOSED = "os.closerange(0, 3)"
_TO_FILE = "logging.getLogger().addHandler(logging.FileHandler({path!r}))"
_TO_ERROR = "logging.getLogger().addHandler(logging.StreamHandler())"


def end_of(*before: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    program = _PROGRAM.format(before="\n".join(before))
    return subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("handlers", [(), (_TO_ERROR,)], ids=["no handler", "a handler"])
def test_closed_standard_error_does_not_change_the_exit_code(handlers: tuple[str, ...]) -> None:
    assert end_of(*handlers, _CLOSED).returncode == 0


def test_a_stream_object_that_was_closed_is_spared_too() -> None:
    done = end_of("sys.stdout.close()", "logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))")
    assert (done.returncode, done.stderr) == (0, "")


def test_other_handlers_get_the_line_once(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert end_of(_TO_ERROR, _TO_FILE.format(path=str(path)), _CLOSED).returncode == 0
    assert path.read_text() == "the line\n"


def test_open_streams_get_the_line_once() -> None:
    assert end_of().stderr == "the line\n"
    assert end_of(_TO_ERROR).stderr == "the line\n"
