"""What the supervisor is started with."""

import os
import sys
import threading
from collections import UserDict

import pytest

from pylon.monitor.process.supervisor_handle import environment


class Changing(UserDict):
    """An environment of which another thread takes a variable away while it is read."""

    def __iter__(self):
        return iter([*self.data, "GONE"])


def test_variable_that_is_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    changing = Changing(HOME="/home/a", EMPTY="")
    with pytest.raises(KeyError, match="GONE"):
        dict(changing)
    monkeypatch.setattr(os, "environ", changing)
    assert environment() == {"HOME": "/home/a", "EMPTY": ""}


def test_thread_that_changes_the_environment_is_no_obstacle() -> None:
    ended = threading.Event()

    def change() -> None:
        while not ended.is_set():
            for number in range(64):
                os.environ[f"PYLON_TEST_{number}"] = "x"
            for number in range(64):
                del os.environ[f"PYLON_TEST_{number}"]

    before, interval = dict(os.environ), sys.getswitchinterval()
    changer = threading.Thread(target=change)
    sys.setswitchinterval(1e-5)
    changer.start()
    try:
        assert all(before.items() <= environment().items() for _ in range(200))
    finally:
        ended.set()
        changer.join()
        sys.setswitchinterval(interval)
