"""A batch that a loader worker cannot hand over: the reason reaches the process that waits for it.

A worker puts its batch into a queue, and a thread of the queue turns it into bytes and shared memory. If that
fails, the standard library prints a traceback and drops the batch; torch waits for it without a limit, and
the worker looks healthy. Here the reason goes through a pipe of its own.
"""

import contextlib
import errno
import multiprocessing.queues
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType

from pylon.threads import NO_ROOM

# Below PIPE_BUF, so that the reasons of two workers do not mix.
_MOST_BYTES = 2000
_SHARED_MEMORY = Path("/dev/shm")
_MEMORY_WORDS = ("shared memory", "No space left", "Bus error", "SIGBUS", "shm")
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_TRIED_AGAIN_AFTER_S = 0.2
_DESCRIPTOR_WORDS = (*map(os.strerror, _NO_DESCRIPTOR), "ancdata")
_SIZE_WORDS = (os.strerror(errno.EFBIG),)


class HandOver:
    """The pipe for the workers of one loader. Travels to them as an argument of their initialiser."""

    def __init__(self) -> None:
        self._receiver, self._sender = multiprocessing.Pipe(duplex=False)

    @property
    def sender(self) -> Connection:
        """The end for the workers."""
        return self._sender

    @property
    def failed(self) -> bool:
        """Whether a worker has reported that it could not hand over a batch."""
        with contextlib.suppress(OSError):
            return self._receiver.poll()
        return False

    def failure(self) -> str:
        """Why it could not; '' if none has reported."""
        with contextlib.suppress(EOFError, OSError):
            if self.failed:
                return self._receiver.recv_bytes().decode("utf-8", "replace")
        return ""


def report_failures_to(sender: Connection) -> None:
    """In a loader worker: send why a batch could not be handed over, in place of printing it."""

    def report(error: Exception, _batch: object) -> None:
        text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:_MOST_BYTES]
        with contextlib.suppress(OSError):
            sender.send_bytes(text)

    _take_descriptor_errors(report)
    # The queue is torch's own and a worker's initialiser does not get it. The hook exists for
    # concurrent.futures; a queue looks it up when its thread starts, with the first batch.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(report)  # type: ignore[attr-defined]


def _take_descriptor_errors(report: Callable[[Exception, object], None]) -> None:
    """Report it if multiprocessing's thread that hands over descriptors has none left for a connection.

    The thread prints a traceback and at once tries again: 90,000 lines in a second.
    """
    former = sys.excepthook

    def seen(kind: type[BaseException], error: BaseException, where: TracebackType | None) -> None:
        in_thread = threading.current_thread() is not threading.main_thread()
        if in_thread and isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR:
            report(error, None)
            time.sleep(_TRIED_AGAIN_AFTER_S)
        else:
            former(kind, error, where)

    sys.excepthook = seen


def advice(reason: str) -> str:
    """What to do about a batch that was lost for `reason`."""
    # These errors name the shared memory too.
    if any(word in reason for word in _DESCRIPTOR_WORDS):
        return (
            "Each tensor that waits to be used takes a file descriptor. Raise the limit (ulimit -n), or use "
            "fewer num_workers or a smaller prefetch_factor."
        )
    if any(word in reason for word in _SIZE_WORDS):
        return (
            "A batch in shared memory counts as a file, and a limit on their size is set. Lift it (ulimit -f "
            "unlimited); num_workers=0 shares no memory."
        )
    if NO_ROOM in reason:
        return (
            "A limit of processes and threads is reached. Raise it (ulimit -u, a container's --pids-limit), "
            "or use fewer num_workers."
        )
    if any(word in reason for word in _MEMORY_WORDS):
        return (
            f"Batches travel through {_room()}, which is too little for those that wait to be used. Give it "
            "more (docker run --shm-size=8g, or --ipc=host), or use fewer num_workers, a smaller "
            "prefetch_factor or a smaller batch_size; num_workers=0 needs none."
        )
    return (
        "What a datapoint holds must be able to travel between processes: tensors that need no gradient, "
        "arrays, numbers, text, and lists and dicts of them. num_workers=0 needs no travel."
    )


def _room() -> str:
    try:
        usage = shutil.disk_usage(_SHARED_MEMORY)
    except OSError as error:
        return f"{_SHARED_MEMORY} ({error.strerror})"
    return f"{_SHARED_MEMORY} ({usage.total >> 20} MiB, {usage.free >> 20} MiB free)"
