"""`release()` closes the driver, so that the GPU can be reset or divided; `resume()` opens it again.

What counts is the kernel's view: which files of the driver the monitors' processes have open.
"""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from pylon.monitor import SystemMonitor
from tests.gpu.nvml import INTERVAL_S, next_reading
from tests.gpu.outcomes import Report, Setting

# A reading that is under way ends first; the next one closes the driver.
CLOSED_WITHIN_S = 3 * INTERVAL_S + 2.0
OPENED_WITHIN_S = 10.0


def run(setting: Setting) -> Report:
    """The part."""
    with SystemMonitor(interval_s=INTERVAL_S, slow_interval_s=INTERVAL_S) as monitor:
        return check_release(monitor, open_driver_files)


def check_release(monitor: SystemMonitor, is_open: Callable[[], bool]) -> Report:
    """Release and resume a started monitor.

    Args:
        monitor: of this machine.
        is_open: whether its processes have the driver open now.
    """
    report = Report()
    next_reading(monitor, time.monotonic())
    if not report.expect(is_open(), "the driver is not open although GPUs are read: this check sees nothing"):
        return report
    monitor.release()
    closed_s = _seconds_until(lambda: not is_open(), CLOSED_WITHIN_S)
    report.expect(closed_s is not None, f"the driver is still open {CLOSED_WITHIN_S} s after release()")
    noted = _seconds_until(lambda: _released(monitor), CLOSED_WITHIN_S)
    report.expect(noted is not None, "GPUStatus.released is not set after release()")
    # A monitor that only forgets the driver for a moment opens it with its next readings.
    time.sleep(3 * INTERVAL_S)
    report.expect(not is_open(), "the driver was opened again before resume()")
    monitor.resume()
    opened_s = _seconds_until(is_open, OPENED_WITHIN_S)
    report.expect(opened_s is not None, f"the driver is not open {OPENED_WITHIN_S} s after resume()")
    with contextlib.suppress(TimeoutError):
        report.details["gpus"] = len(next_reading(monitor, time.monotonic()).gpus)
    report.expect("gpus" in report.details, "no GPU is read after resume()")
    report.details |= {"closed_s": closed_s, "opened_s": opened_s}
    report.figure = f"closed after {_text(closed_s)}, open again after {_text(opened_s)}"
    return report


def open_driver_files() -> bool:
    """Whether a child of this process, or a child of one, has a file /dev/nvidia... open."""
    return any(
        target.startswith("/dev/nvidia")
        for child in psutil.Process().children(recursive=True)
        for target in _open_files(child.pid)
    )


def _open_files(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(str(descriptor.readlink()))
    return found


def _released(monitor: SystemMonitor) -> bool:
    seen = monitor.latest().gpu.get("localhost")
    status = None if seen is None else seen.current
    return status is not None and status.released


def _seconds_until(condition: Callable[[], bool], within_s: float) -> float | None:
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < within_s:
        if condition():
            return time.monotonic() - begun_s
        time.sleep(0.02)
    return None


def _text(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
