"""A recorder's channel above `pylon run`: it joins that, so that a test need not wait for a recorder."""

import os
from collections.abc import Iterator

import pytest

from pylon.recorder.channel import VARIABLE, Channel, ChannelReader, MarkRecord


class Above:
    """What the wrappers of a test send."""

    def __init__(self, channel: Channel) -> None:
        self._reader = ChannelReader(channel.memory)
        self._marks: list[MarkRecord] = []

    def marks(self) -> list[MarkRecord]:
        """All marks since the begin."""
        self._marks += self._reader.collect().marks
        self._reader.accept()
        return self._marks

    def kinds(self) -> list[str]:
        return [mark.kind for mark in self.marks()]


@pytest.fixture(autouse=True)
def above(monkeypatch: pytest.MonkeyPatch) -> Iterator[Above]:
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    channel = Channel.create()
    monkeypatch.setenv(VARIABLE, channel.address)
    yield Above(channel)
    channel.close()
    assert VARIABLE in os.environ
