"""GPUMonitor, as its worker uses it."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.monitor import GPUMonitor, MonitorSettingError
from tests.monitor.nvml_stand_in import StandIn

REPOSITORY = Path(__file__).resolve().parents[4]

WORKER = """
import os, sys, threading
from pylon.monitor import GPUMonitor
monitor = GPUMonitor(run_pid=os.getpid(), slow_interval_s=3.0, max_calls_per_tick=50, window_size=2)
monitor._set_released(True)
monitor._init_status_structures()
assert monitor._update_single_server("localhost").released
monitor._set_released(False)
status = monitor._update_single_server("localhost")
assert not status.released and len(status.gpus) == 2, status
monitor._set_released(True)
assert monitor._update_single_server("localhost").released
monitor._set_released(False)
assert monitor._update_single_server("localhost").gpus[0].power_w == 250.5
monitor._close()
print("well")
"""


def test_worker_releases_and_resumes_the_driver(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", stand_in.logging)
    done = subprocess.run(
        [sys.executable, "-c", WORKER],
        cwd=REPOSITORY,
        env={**os.environ, **stand_in.environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("well\n", "")
    calls = stand_in.calls()
    assert calls["nvmlInitWithFlags"] == calls["nvmlShutdown"] == 2


@pytest.mark.parametrize("name", ["slow_interval_s", "max_calls_per_tick", "window_size"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), True, "1"])
def test_settings_out_of_range_are_refused(name, value):
    with pytest.raises(MonitorSettingError, match=name):
        GPUMonitor(**{name: value})


def test_training_process_loads_neither_pynvml_nor_the_driver():
    code = "import sys; from pylon import monitor; monitor.GPUMonitor(); sys.exit('pynvml' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False).returncode == 0
    )


def test_monitor_can_be_sent_to_its_process():
    monitor = GPUMonitor(slow_interval_s=2.0)
    args, kwargs = pickle.loads(monitor.spec().arguments)
    assert GPUMonitor(*args, **kwargs)._reading.slow_interval_s == 2.0


def test_reading_before_the_preparation_is_an_error_and_no_crash():
    with pytest.raises(RuntimeError):
        GPUMonitor()._update_single_server("localhost")
