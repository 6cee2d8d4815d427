"""Start of workers that cannot be started, or that die before they have read what they are to do."""

import array
import contextlib
import errno
import fcntl
import mmap
import os
import stat
import termios
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from pylon.data.errors import LoaderWorkerError
from pylon.data.worker_watch import hide_from_handler, kill
from pylon.threads import NO_ROOM, started

_LOOKS_EVERY_S = 0.2
_ENDED_WITHIN_S = 2.0
# What a process gets that may not have more files, processes or memory.
_OF_LIMITS = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM)


@contextlib.contextmanager
def failed_starts_ended(name: str, workers: int) -> Iterator[None]:
    """Start workers in the block; if that fails, end those that were, and give the error the fix.

    torch would ask them to when it frees what is half made, for which it needs what is not there; and Python
    waits for them at its exit.

    Args:
        name: of the dataset, for the error.
        workers: how many, for the error.

    Raises:
        LoaderWorkerError: a worker has died in its start, or a limit of this process is reached.
    """
    try:
        yield
    except BaseException as error:
        _end_half_made(error)
        if isinstance(error, ConnectionError | EOFError):
            # A new worker gets the dataset through a pipe, unless it is forked.
            raise LoaderWorkerError(
                f"{name}: a loader worker died in its start ({type(error).__name__}). It may have been "
                "killed for lack of memory: try fewer num_workers."
            ) from error
        if not _is_of_a_limit(error):
            raise
        raise LoaderWorkerError(
            f"{name}: its {workers} loader workers cannot be started ({error}). Raise the limit of open "
            "files (ulimit -n), of processes and threads (ulimit -u, a container's --pids-limit) or of "
            "memory, or use fewer num_workers."
        ) from error


def _end_half_made(error: BaseException) -> None:
    """End the workers of torch's iterator in whose making this was raised. Nothing else refers to it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        iterator = frame.f_locals.get("self")
        if isinstance(iterator, _MultiProcessingDataLoaderIter):
            workers = getattr(iterator, "_workers", ())
            kill(workers)
            for worker in workers:
                worker.join(_ENDED_WITHIN_S)
            hide_from_handler(iterator)
            iterator._shutdown = True


def _is_of_a_limit(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return error.errno in _OF_LIMITS
    return isinstance(error, RuntimeError) and NO_ROOM in str(error)


@contextlib.contextmanager
def dead_workers_not_waited_for(start_method: str | None) -> Iterator[None]:
    """Start workers in the block: one that dies in its start does not hold it up.

    multiprocessing writes what a spawned process is to do, the dataset too, into a pipe of which it holds the
    other end as well. If the process dies before it has read all of it, the write is waited for without a
    limit (CPython 3.13). So what no process will read is taken out; the death is seen where a batch is
    waited for.

    Args:
        start_method: of the workers; only 'spawn' is looked after.
    """
    if start_method != "spawn":
        yield
        return
    ended = threading.Event()
    # Looked up here: when the thread has its first turn, a new worker may be dead already.
    former = {child.pid for child in psutil.Process().children()}
    before = set(_pipes().values())
    watch = threading.Thread(target=_watch, args=(ended, former, before), name="loader start", daemon=True)
    watches = started(watch)  # if not, few workers die in their start
    try:
        yield
    finally:
        ended.set()
        if watches:
            watch.join()


def _watch(ended: threading.Event, former: set[int], before: set[int]) -> None:
    while not ended.wait(_LOOKS_EVERY_S):
        with contextlib.suppress(psutil.Error, OSError):
            children = psutil.Process().children()
            dead = {child.pid for child in children if child.status() == psutil.STATUS_ZOMBIE}
            if dead <= former:
                continue
            read_by_others = {pipe for child in children for pipe in _pipes(child.pid).values()}
            for descriptor, pipe in _pipes().items():
                if pipe not in before | read_by_others:
                    _take_out(descriptor)


def _take_out(descriptor: int) -> None:
    """What is in a full pipe, if this is an end to read from."""
    with contextlib.suppress(OSError):
        if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
            return
        # A writer waits when less than a page is free; of 16 pages, or of fewer if the user has many pipes.
        room = fcntl.fcntl(descriptor, fcntl.F_GETPIPE_SZ)
        while (waiting := _bytes_in(descriptor)) > room - mmap.PAGESIZE:
            os.read(descriptor, waiting)
            # The writer, which has waited for room, fills it again.
            time.sleep(0.001)


def _bytes_in(descriptor: int) -> int:
    count = array.array("i", [0])
    fcntl.ioctl(descriptor, termios.FIONREAD, count)
    return count[0]


def _pipes(pid: int | None = None) -> dict[int, int]:
    """Descriptors of a process, by default this one, that are ends of pipes, and which pipe it is."""
    found = {}
    with contextlib.suppress(OSError):
        for link in Path("/proc", "self" if pid is None else str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):
                state = link.stat()
                if stat.S_ISFIFO(state.st_mode):
                    found[int(link.name)] = state.st_ino
    return found
