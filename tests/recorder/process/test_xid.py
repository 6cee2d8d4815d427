"""An Xid error that the driver reports while a program is recorded: mark, alert, and evidence of its end."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pylon.recorder.history import open_history
from tests.monitor.nvml_stand_in import StandIn

pytestmark = pytest.mark.slow

PROGRAM = """
import contextlib, sys, time
from pylon.monitor import SystemMonitor
from pylon.recorder import Recorder

watch = SystemMonitor(interval_s=0.2)

def seen():
    found = watch.latest().gpu.get("localhost")
    return found and found.status

with contextlib.ExitStack() as stack:
    stack.callback(watch.stop)
    stack.enter_context(Recorder(sys.argv[1], kind="loop", name="gpu", monitor=watch))
    watch.start()
    while not (seen() and seen().gpus):
        time.sleep(0.05)
    print("watched", flush=True)
    while not seen().xid_events:
        time.sleep(0.05)
    time.sleep(1.5)
    raise RuntimeError("CUDA error: unspecified launch failure")
"""


def test_xid_error_is_marked_alerted_and_evidence_of_the_failure_after_it(tmp_path: Path) -> None:
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    path = tmp_path / "run" / "history.sqlite"
    environment = {**os.environ, **stand_in.environment}
    command = [sys.executable, "-c", PROGRAM, str(path)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline() == "watched\n"
        stand_in.behave("gpus 2", "xid 79 1 1")
        assert program.wait(timeout=30) == 1
    until_s = time.monotonic() + 10.0
    while True:
        with open_history(path) as history:
            ending, marks, alerts = history.ending(1), history.marks(1, {"xid"}), history.alerts(1)
        if ending is not None or time.monotonic() > until_s:
            break
        time.sleep(0.1)
    assert [json.loads(one.detail or "")["xid"] for one in marks] == [79]
    assert "Xid 79 of GPU GPU-00000001" in next(one.text for one in alerts if one.rule == "xid")
    assert ending is not None
    assert ending.state == "failed"
    assert "the driver had reported Xid 79 of GPU GPU-00000001" in (ending.evidence or "")
