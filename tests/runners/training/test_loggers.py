"""A run's loggers get its record while it trains, and its end."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pylon.views.loggers.position import entry_of
from tests.runners.conftest import ENVIRONMENT, Toy
from tests.views.loggers.records import FILE_LOGGER, all_entries

WATCHED = (
    "monitor={'class': SystemMonitor, 'args': {'gpu': False, 'interval_s': 0.2}},"
    " loggers=[{'class': __import__('tests.views.loggers.records', fromlist=['_']).FileLogger, 'args': {}}]"
)


def log_of(run: Path) -> str:
    log = run / "loggers" / f"{FILE_LOGGER.replace(':', '.')}.log"
    return log.read_text() if log.exists() else ""


def sent(run: Path) -> list[Any]:
    until_s = time.monotonic() + 60
    while "is sent" not in log_of(run) and time.monotonic() < until_s:
        time.sleep(0.05)
    return [entry_of(json.loads(line)) for line in (run / "lines.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_run_is_sent_to_its_end_and_waits_for_no_logger(toy: Toy) -> None:
    toy.run(WATCHED)
    entries = sent(toy.work_dir)
    assert entries == all_entries(toy.work_dir / "history.sqlite")
    names = {name for one in entries if hasattr(one, "values") for name in one.values}
    assert {"train/loss", "train/learning_rate", "score/f1_changed"} <= names
    assert (entries[-1].state, entries[-1].cause) == ("finished", "clean")


@pytest.mark.slow
def test_run_that_is_killed_has_its_end_sent(toy: Toy) -> None:
    record = toy.work_dir / "history.sqlite"
    with subprocess.Popen(
        toy.command(f"{WATCHED}, epochs=100_000"),
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until_s = time.monotonic() + 60
        while not record.exists() and process.poll() is None and time.monotonic() < until_s:
            time.sleep(0.05)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    entries = sent(toy.work_dir)
    assert (entries[-1].state, entries[-1].cause) == ("killed", "sigkill")
