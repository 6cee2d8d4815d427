"""Stacks on request: only of a process that still handles the signal and still has the file."""

import faulthandler
import os
import signal
import time
from pathlib import Path

import pytest

from pylon.recorder.channel import Channel, ChannelReader
from pylon.recorder.process.stacks import OfferedStacks, PySpy, StackFile


def offered(channel: Channel) -> tuple[OfferedStacks, StackFile]:
    stacks = OfferedStacks(channel.sender)
    (writer,) = ChannelReader(channel.memory).writers()
    return stacks, StackFile(writer)


def test_they_name_this_function() -> None:
    channel = Channel.create()
    stacks, file = offered(channel)
    assert file.ask()
    assert "test_they_name_this_function" in file.new_text()
    assert file.new_text() == ""
    stacks.withdraw()
    assert not file.ask(), "without a handler the signal would end the process"
    assert ChannelReader(channel.memory).writers()[0].stack_signal == 0
    file.close()
    channel.close()


def test_a_signal_that_is_no_longer_handled_is_not_sent() -> None:
    channel = Channel.create()
    stacks, file = offered(channel)
    faulthandler.unregister(file.writer.stack_signal)
    assert not file.ask(), "it would end the process"
    stacks.withdraw()
    file.close()
    channel.close()


def test_a_file_that_took_the_number_is_not_written_to(tmp_path: Path) -> None:
    channel = Channel.create()
    stacks, file = offered(channel)
    number = ChannelReader(channel.memory).writers()[0].stack_descriptor
    with (tmp_path / "checkpoint").open("wb") as own:
        os.dup2(own.fileno(), number)
    assert not file.ask()
    assert (tmp_path / "checkpoint").read_bytes() == b""
    stacks.withdraw()
    file.close()
    channel.close()


def test_a_signal_that_is_in_use_is_left_alone() -> None:
    channel = Channel.create()
    taken = signal.SIGRTMAX - 3
    signal.signal(taken, lambda *_: None)
    try:
        stacks, file = offered(channel)
        assert file.writer.stack_signal != taken
        stacks.withdraw()
        file.close()
    finally:
        signal.signal(taken, signal.SIG_DFL)
    channel.close()


def test_a_crash_handler_of_the_programs_own_stays() -> None:
    was = faulthandler.is_enabled()
    channel = Channel.create()
    stacks, file = offered(channel)
    stacks.withdraw()
    assert faulthandler.is_enabled() == was
    file.close()
    channel.close()


@pytest.mark.parametrize(("script", "expected"), [("echo stack of $3", "stack of"), ("exit 1", "")])
def test_py_spy_is_asked_without_a_wait(
    script: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "py-spy"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    spy = PySpy.of(os.getpid())
    assert spy is not None
    until = time.monotonic() + 10
    while (text := spy.text()) is None and time.monotonic() < until:
        time.sleep(0.01)
    assert text is not None
    assert text.startswith(expected)
    monkeypatch.setenv("PATH", "/nowhere")
    assert PySpy.of(1) is None
