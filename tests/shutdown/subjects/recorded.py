"""A program that is recorded, and dies: `recorded.py FOLDER DEATH DELAY_S`.

It prints its number, its supervisor's and its recorder's once it is recorded, and dies after it has read a
line.
"""

import ctypes
import mmap
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NoReturn

from pylon.monitor import SystemMonitor
from pylon.recorder import Recorder


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def raise_with(error: BaseException) -> NoReturn:
    raise error


def send(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(30)


def bus_error() -> None:
    with tempfile.TemporaryFile() as file:
        file.truncate(mmap.PAGESIZE)
        page = mmap.mmap(file.fileno(), mmap.PAGESIZE)
        file.truncate(0)
        page.read(1)


def fill_memory() -> None:
    kept = []
    while True:
        kept.append(b"x" * (8 << 20))


def obey(recorder: Recorder) -> None:
    def handle(number: int, _frame: object) -> None:
        recorder.sender.mark("stop_request", signal=signal.Signals(number).name)
        sys.exit(0)

    signal.signal(signal.SIGTERM, handle)
    send(signal.SIGTERM)


def write_to_full_disk() -> None:
    with open("/dev/full", "wb", buffering=0) as file:  # noqa: PTH123 - a device
        file.write(b"x")


DEATHS: dict[str, Callable[[Recorder], object]] = {
    "sigkill": lambda _: send(signal.SIGKILL),
    "sigterm": lambda _: send(signal.SIGTERM),
    "sigint": lambda _: send(signal.SIGINT),
    "sighup": lambda _: send(signal.SIGHUP),
    "end": lambda _: None,
    "exit 3": lambda _: sys.exit(3),
    "_exit 0": lambda _: os._exit(0),
    "_exit 5": lambda _: os._exit(5),
    "exception": lambda _: raise_with(ValueError("bad")),
    "disk full": lambda _: write_to_full_disk(),
    "non-finite": lambda _: raise_with(FloatingPointError("step 3: the loss is nan")),
    "cuda oom": lambda _: raise_with(OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")),
    "segfault": lambda _: ctypes.string_at(0),
    "abort": lambda _: os.abort(),
    "bus error": lambda _: bus_error(),
    "fpe": lambda _: send(signal.SIGFPE),
    "stop": lambda recorder: recorder.stop(),
    "obeyed sigterm": obey,
    "memory": lambda _: fill_memory(),
    "hang": lambda _: time.sleep(60),
}


def heed_signals() -> None:
    """Undo what nohup and a shell's background jobs ignore, which programs inherit."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def main() -> None:
    heed_signals()
    folder, death, delay_s = sys.argv[1], sys.argv[2], float(sys.argv[3])
    # The watched process is small: the kernel kills the largest of a group.
    monitor = SystemMonitor(gpu=False, interval_s=0.2)
    recorder = Recorder(
        f"{folder}/history.sqlite",
        kind="loop",
        monitor=monitor,
        hang_after_s=0.3 if death == "hang" else 60.0,
    ).start()
    monitor.start()
    number = 0
    while not recorder.begun or not recorder.processes:
        time.sleep(0.005)
        recorder.sender.step(number, 0.005)
        number += 1
    supervisor, recording = monitor.supervisor_pid, recorder.processes - {monitor.supervisor_pid}
    sys.stdout.write(f"{os.getpid()} {supervisor} {min(recording)}\n")
    sys.stdout.flush()
    sys.stdin.readline()
    until = time.monotonic() + delay_s
    while time.monotonic() < until:
        time.sleep(0.005)
        recorder.sender.step(number, 0.005, 0.001, 0.5)
        number += 1
    DEATHS[death](recorder)


if __name__ == "__main__":
    main()
