"""A recorder's channel above the tested process, read as the recorder reads it."""

from collections.abc import Iterator

import pytest

from pylon.recorder.channel import VARIABLE, Channel, ChannelReader, Collected


class Recorded:
    """What has come through the channel."""

    def __init__(self, channel: Channel) -> None:
        self._reader = ChannelReader(channel.memory)
        self.all = Collected()

    def read(self) -> Collected:
        """Everything since the begin."""
        new = self._reader.collect()
        self._reader.accept()
        self.all.steps += new.steps
        self.all.marks += new.marks
        return self.all

    def kinds(self) -> list[str]:
        """The kinds of the marks."""
        return [mark.kind for mark in self.read().marks]

    def last_words(self) -> list[dict[str, object]]:
        return [word.detail for word in self._reader.words()]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorded]:
    channel = Channel.create()
    monkeypatch.setenv(VARIABLE, channel.address)
    for name in ("LOCAL_RANK", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    yield Recorded(channel)
    channel.close()
