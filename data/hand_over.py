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
from multiprocessing.connection import Connection
from pathlib import Path

# Below PIPE_BUF, so that the reasons of two workers do not mix.
_MOST_BYTES = 2000
_SHARED_MEMORY = Path("/dev/shm")
_MEMORY_WORDS = ("shared memory", "No space left", "Bus error", "SIGBUS", "shm")
_DESCRIPTOR_WORDS = (os.strerror(errno.EMFILE), "ancdata", os.strerror(errno.ENFILE))


class HandOver:
    """The pipe for the workers of one loader. Travels to them as an argument of their initialiser."""

    def __init__(self) -> None:
        self._receiver, self._sender = multiprocessing.Pipe(duplex=False)

    @property
    def sender(self) -> Connection:
        """The end for the workers."""
        return self._sender

    def failure(self) -> str:
        """Why a worker could not hand over a batch; '' if none has reported."""
        with contextlib.suppress(EOFError, OSError):
            if self._receiver.poll():
                return self._receiver.recv_bytes().decode("utf-8", "replace")
        return ""


def report_failures_to(sender: Connection) -> None:
    """In a loader worker: send why a batch could not be handed over, in place of printing it."""

    def report(error: Exception, _batch: object) -> None:
        text = f"{type(error).__name__}: {error}".encode("utf-8", "replace")[:_MOST_BYTES]
        with contextlib.suppress(OSError):
            sender.send_bytes(text)

    # The queue is torch's own and a worker's initialiser does not get it. The hook exists for
    # concurrent.futures; a queue looks it up when its thread starts, with the first batch.
    multiprocessing.queues.Queue._on_queue_feeder_error = staticmethod(report)  # type: ignore[attr-defined]


def advice(reason: str) -> str:
    """What to do about a batch that was lost for `reason`."""
    if any(word in reason for word in _MEMORY_WORDS):
        return (
            f"Batches travel through {_room()}, which is too little for those that wait to be used. Give it "
            "more (docker run --shm-size=8g, or --ipc=host), or use fewer num_workers, a smaller "
            "prefetch_factor or a smaller batch_size; num_workers=0 needs none."
        )
    if any(word in reason for word in _DESCRIPTOR_WORDS):
        return (
            "Each tensor that waits to be used takes a file descriptor. Raise the limit (ulimit -n), or use "
            "fewer num_workers or a smaller prefetch_factor."
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
