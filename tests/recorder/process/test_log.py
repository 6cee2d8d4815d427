"""Alerts in the log of the run."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from pylon.recorder.process.log import RunLog


@pytest.fixture
def logger() -> logging.Logger:
    return own_logger("pylon.recorder.alerts.book")


def own_logger(name: str) -> logging.Logger:
    return logging.Logger(name, logging.INFO)  # noqa: LOG001 - one that no other test has


def test_lines_come_behind_those_of_the_run_without_secrets(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "train.log"
    path.write_text("epoch 1\n")
    logger.addHandler(RunLog(path, ["hunter22"]))
    logger.warning("stuck (critical): no step for %d s, hunter22", 60)
    first, second = path.read_text().splitlines()
    assert first == "epoch 1"
    assert second.endswith("WARNING pylon.recorder.alerts.book: stuck (critical): no step for 60 s, ***")


@pytest.mark.parametrize(
    "put", [lambda path: None, lambda path: path.symlink_to("/etc/hostname"), Path.mkdir]
)
def test_file_that_is_gone_or_planted_is_left_alone(
    tmp_path: Path, logger: logging.Logger, put: Callable[[Path], None]
) -> None:
    path = tmp_path / "train.log"
    put(path)
    before = path.lstat() if path.is_symlink() or path.exists() else None
    logger.addHandler(RunLog(path, ()))
    logger.error("died")
    after = path.lstat() if path.is_symlink() or path.exists() else None
    assert (before is None) == (after is None)


def test_lines_of_several_writers_stay_whole(tmp_path: Path, logger: logging.Logger) -> None:
    path = tmp_path / "train.log"
    path.touch()
    logger.addHandler(RunLog(path, ()))
    other = own_logger("pylon.recorder")
    other.addHandler(RunLog(path, ()))
    threads = [
        threading.Thread(target=lambda one=one: [one.error("x" * 500) for _ in range(100)])
        for one in (logger, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 200
    assert all(line.endswith("x" * 500) and line.count("ERROR") == 1 for line in lines)
