"""A plugin of pytest: no thread can be started, as where a limit of processes and threads is reached."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest


@pytest.fixture
def no_room_for_threads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., AbstractContextManager[None]]:
    """A context manager in which CPython answers so; its argument: the class of threads, by default all."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    @contextlib.contextmanager
    def refused(kind: type[threading.Thread] = threading.Thread) -> Iterator[None]:
        with monkeypatch.context() as patched:
            patched.setattr(kind, "start", refuse)
            yield

    return refused
