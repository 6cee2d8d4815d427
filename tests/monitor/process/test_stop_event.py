"""What wakes a waiting process, with semaphores and without."""

import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pylon.monitor.process import stop_event
from tests.faults.harness import REPOSITORY

FORK = multiprocessing.get_context("fork")


class Without:
    """A start method on a machine that has no semaphores."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def Event(self):  # noqa: N802 - multiprocessing's name
        raise self.error


@pytest.fixture(params=[None, OSError(2, "no /dev/shm"), OSError(28, "full"), ImportError("no sem_open")])
def event(request):
    return stop_event.stop_event(FORK if request.param is None else Without(request.param))


def test_wait_ends_at_its_time_or_when_it_is_set(event) -> None:
    assert not event.is_set()
    began = time.monotonic()
    assert not event.wait(0.05)
    assert time.monotonic() - began >= 0.05
    assert not event.wait(-1.0)
    threading.Timer(0.05, event.set).start()
    assert event.wait(10)
    assert event.wait()
    event.set()
    assert event.is_set()


def test_it_is_set_in_the_processes_that_were_forked_before(event) -> None:
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            os._exit(0 if event.wait(20) else 1)
        pids.append(pid)
    event.set()
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]


def test_no_descriptor_is_left() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        stop_event.stop_event(Without(OSError(2, "no /dev/shm")))
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.slow
def test_monitors_of_a_machine_without_shared_memory() -> None:
    namespace = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")
    without = 'mount -t tmpfs -o ro,size=4k none /dev/shm && exec "$@"'
    if (
        shutil.which("unshare") is None
        or subprocess.run([*namespace, without, "sh", "true"], check=False, timeout=20).returncode
    ):
        pytest.skip("needs user namespaces (unshare --user --mount)")
    probe = "import multiprocessing\ntry: multiprocessing.Event()\nexcept OSError: raise SystemExit(7)"
    python = [*namespace, without, "sh", sys.executable]
    assert subprocess.run([*python, "-c", probe], check=False, timeout=60).returncode == 7, (
        "the fault is there"
    )
    began = time.monotonic()
    done = subprocess.run(
        [*python, "-m", "monitor", "once", "--no-gpu"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=90,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("CPU")
    assert time.monotonic() - began < 9, "processes end when they are asked to, not when they are killed"
