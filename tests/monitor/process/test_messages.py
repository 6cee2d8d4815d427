"""Frames over a pipe: whole or not at all, in order, and nobody ever waits for the other side."""

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor import MonitorState
from pylon.monitor.process import messages
from pylon.monitor.process.messages import (
    FrameReader,
    FrameWriter,
    HealthReport,
    encode,
)
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import MonitorHealth, ServerReport

# None ends `FrameReader.read`'s look through what has arrived; nobody sends it.
sendable = st.recursive(
    st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class Pipe:
    """Both ends of a pipe, closed at the end of the block."""

    def __enter__(self) -> "Pipe":
        self.reading, self.writing = os.pipe()
        self._open = {self.reading, self.writing}
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in list(self._open):
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        os.close(descriptor)

    def put(self, content: bytes) -> None:
        assert os.write(self.writing, content) == len(content)

    def fill(self) -> int:
        """Fill it to the brim; how many bytes that took."""
        os.set_blocking(self.writing, False)
        put = 0
        for size in (4096, 1):
            try:
                while True:
                    put += os.write(self.writing, b"x" * size)
            except BlockingIOError:
                continue
        return put


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    with Pipe() as made:
        yield made


@given(messages=st.lists(sendable, max_size=6), cuts=st.lists(st.integers(1, 40), min_size=1))
def test_frames_arrive_whole_and_in_order_however_they_are_cut(messages: list[Any], cuts: list[int]) -> None:
    stream = b"".join(map(encode, messages))
    arrived: list[Any] = []
    with Pipe() as pipe:
        reader = FrameReader(pipe.reading)
        while stream:
            size = cuts[len(stream) % len(cuts)]
            pipe.put(stream[:size])
            stream = stream[size:]
            arrived += reader.read()
    assert arrived == messages


@given(messages=st.lists(sendable, min_size=1, max_size=4), data=st.data())
def test_part_of_a_frame_is_kept_until_the_rest_comes(messages: list[Any], data: st.DataObject) -> None:
    *whole, last = map(encode, messages)
    cut = data.draw(st.integers(0, len(last) - 1))
    with Pipe() as pipe:
        reader = FrameReader(pipe.reading)
        pipe.put(b"".join(whole) + last[:cut])
        assert reader.read() == messages[:-1]
        assert reader.read() == []
        pipe.put(last[cut:])
        assert reader.read() == messages[-1:]


def test_empty_pipe_has_nothing_to_read(pipe: Pipe) -> None:
    assert FrameReader(pipe.reading).read() == []


def test_end_of_the_other_side_is_reported_and_stays(pipe: Pipe) -> None:
    reader = FrameReader(pipe.reading)
    pipe.close(pipe.writing)
    for _ in range(2):
        with pytest.raises(EOFError, match="closed"):
            reader.read()


def test_last_word_before_the_end_is_not_lost(pipe: Pipe) -> None:
    """A supervisor that fails writes its traceback and is gone: both arrive together."""
    reader = FrameReader(pipe.reading)
    FrameWriter(pipe.writing).write(HealthReport(last_word="Traceback"))
    pipe.close(pipe.writing)
    assert reader.read() == [HealthReport(last_word="Traceback")]
    with pytest.raises(EOFError):
        reader.read()


def test_frame_that_the_end_has_cut_is_not_a_frame(pipe: Pipe) -> None:
    reader = FrameReader(pipe.reading)
    pipe.put(encode("whole") + encode("torn")[:-1])
    assert reader.read() == ["whole"]
    pipe.close(pipe.writing)
    with pytest.raises(EOFError):
        reader.read()


@pytest.mark.parametrize("length", [messages._MAXIMUM_BYTES + 1, 2**32 - 1])
def test_length_that_no_frame_has_is_a_torn_stream(pipe: Pipe, length: int) -> None:
    pipe.put(length.to_bytes(4, "little"))
    with pytest.raises(EOFError, match=f"{length} bytes: the stream is torn"):
        FrameReader(pipe.reading).read()


@given(junk=st.binary(min_size=5, max_size=200))
def test_garbage_raises_or_waits_but_never_hangs(junk: bytes) -> None:
    with Pipe() as pipe:
        pipe.put(junk)
        try:
            FrameReader(pipe.reading).read()
        except Exception as error:  # noqa: BLE001 - unpickling garbage raises anything
            assert not isinstance(error, BlockingIOError)


def test_report_of_the_largest_size_passes_through_a_small_pipe(pipe: Pipe) -> None:
    writer, reader = FrameWriter(pipe.writing), FrameReader(pipe.reading)
    large = bytes(3 << 20)
    assert writer.write(large)
    arrived: list[Any] = []
    refused = 0
    for _ in range(1000):
        arrived += reader.read()
        if arrived:
            break
        refused += not writer.write("newer")
    assert arrived[0] == large
    assert set(arrived[1:]) <= {"newer"}
    assert refused > 0, "what comes while a frame is under way is dropped"


def test_full_pipe_does_not_block_the_writer(pipe: Pipe) -> None:
    pipe.fill()
    writer = FrameWriter(pipe.writing)

    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError("the writer has waited for its reader")

    former = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 5)
    try:
        assert [writer.write(number) for number in range(1000)].count(True) <= 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


@given(
    sizes=st.lists(st.integers(0, 60_000), min_size=1, max_size=30),
    reads=st.lists(st.booleans(), min_size=1),
)
def test_only_whole_frames_are_dropped(sizes: list[int], reads: list[bool]) -> None:
    with Pipe() as pipe:
        writer, reader = FrameWriter(pipe.writing), FrameReader(pipe.reading)
        accepted, arrived = [], []
        for number, size in enumerate(sizes):
            message = (number, b"x" * size)
            if writer.write(message):
                accepted.append(message)
            if reads[number % len(reads)]:
                arrived += reader.read()
        # What was begun is finished by the writes that come after it.
        while not writer.write("last"):
            arrived += reader.read()
        arrived += reader.read()
    # Of the last one, part may still be on its way.
    arrived = [one for one in arrived if one != "last"]
    assert arrived == accepted, "what `write` has taken arrives, once and in order; nothing else does"


def test_writer_learns_that_the_reader_is_gone(pipe: Pipe) -> None:
    writer = FrameWriter(pipe.writing)
    pipe.close(pipe.reading)
    with pytest.raises(BrokenPipeError):
        writer.write("anything")


def test_descriptors_do_not_block_afterwards(pipe: Pipe) -> None:
    FrameReader(pipe.reading)
    FrameWriter(pipe.writing)
    assert not os.get_blocking(pipe.reading)
    assert not os.get_blocking(pipe.writing)


def test_writer_and_reader_in_different_threads_agree(pipe: Pipe) -> None:
    writer, reader = FrameWriter(pipe.writing), FrameReader(pipe.reading)
    wanted, arrived = 300, []

    def write() -> None:
        for number in range(wanted):
            while not writer.write((number, b"x" * 5000)):
                pass

    thread = threading.Thread(target=write)
    thread.start()
    while len(arrived) < wanted - 1:
        arrived += reader.read()
    thread.join()
    assert [number for number, _ in arrived] == list(range(len(arrived)))


@pytest.mark.parametrize(
    "message",
    [
        ServerReport(1.0, 2, Failure("OSError", "gone"), 3.0, 0.1, 4, b"status"),
        HealthReport({"CPUMonitor": MonitorHealth(MonitorState.OK, 7, 1, None, 2.0, 4.0, "why")}, "word"),
    ],
)
def test_reports_survive_the_way(pipe: Pipe, message: object) -> None:
    assert FrameWriter(pipe.writing).write(message)
    assert FrameReader(pipe.reading).read() == [message]


def test_frame_is_its_length_and_a_pickle() -> None:
    frame = encode({"a": 1})
    assert int.from_bytes(frame[:4], "little") == len(frame) - 4
    assert pickle.loads(frame[4:]) == {"a": 1}
