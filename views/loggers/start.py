"""The process that follows a run: without a parent that waits for it, a terminal or a pipe."""

import contextlib
import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from pylon.recorder.channel import start_ticks
from pylon.storage import UNSUPPORTED, open_unlinked
from pylon.views.loggers.contract import LoggerError
from pylon.views.loggers.link import environment, python

_STARTED_WITHIN_S = 30.0
_LONGEST_LOG_BYTES = 1_000_000

logger = logging.getLogger(__name__)


def follow_run(folder: Path, name: str, arguments: Mapping[str, str | None], since: float) -> None:
    """Start a process that sends a launch of this program to a logger; what fails is logged.

    Args:
        folder: of the record.
        name: of the logger.
        arguments: of its constructor.
        since: Unix time; the launch begins then or later.
    """
    options = [f"--option={key}={value}" for key, value in arguments.items() if value is not None]
    program = f"{os.getpid()}:{start_ticks(os.getpid())}:{since!r}"
    command = [
        *(*python("pylon"), "log", str(folder), f"--to={name}", *options),
        *("--follow", "--detach", f"--program={program}"),
    ]
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_STARTED_WITHIN_S,
            check=False,
            # A signal for the training's group is not for this.
            start_new_session=True,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        logger.warning("%s: nothing is sent to %s: %s. %s", folder, name, error, _later(folder, name))
        return
    if done.returncode != 0:
        text = done.stderr.decode("utf-8", "replace").strip()
        logger.warning("%s: nothing is sent to %s: %s. %s", folder, name, text, _later(folder, name))


def _later(folder: Path, name: str) -> str:
    return f"`pylon log {folder} --to {name}` sends it later"


def detach(log: Path) -> bool:
    """Go on in a process of its own, with a log in place of the output; whether this is that process."""
    if os.fork():
        return False
    os.setsid()
    flags = os.O_CREAT | os.O_WRONLY | os.O_APPEND
    output = open_unlinked(log, flags)
    if os.fstat(output).st_size > _LONGEST_LOG_BYTES:
        os.ftruncate(output, 0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    return True


@contextlib.contextmanager
def alone(path: Path, waits: Callable[[float], bool]) -> Iterator[None]:
    """Hold a lock in the block, so that no other process sends the same record to the same logger.

    Args:
        path: of the lock.
        waits: whether to try again, after so many seconds.

    Raises:
        LoggerError: another process holds it.
        OSError: it cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = open_unlinked(path, os.O_CREAT | os.O_RDWR)
    try:
        while not _locked(descriptor):
            if not waits(0.5):
                holder = os.pread(descriptor, 20, 0).decode("ascii", "replace").strip()
                raise LoggerError(
                    f"process {holder or 'another one'} is sending this already (it holds {path}). "
                    "Wait until it has ended, or end it"
                )
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        # A file system without locks: that two processes send is not noticed.
    return True


def followed(program: str) -> tuple[Callable[[], bool], float]:
    """Whether the program PID:TICKS:TIME runs still, and the time from which on its launch begins."""
    pid, ticks, since = program.split(":")
    number, start = int(pid), int(ticks)
    return lambda: start_ticks(number) == start, float(since)


def until(deadline_s: float, stopped: Callable[[float], bool]) -> Callable[[float], bool]:
    """A `waits` for `alone`: up to a time, or a signal."""
    return lambda seconds: not stopped(seconds) and time.monotonic() < deadline_s
