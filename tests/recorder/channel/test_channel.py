"""The shared memory between a watched program and its recorder."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pylon.recorder.channel import VARIABLE, Channel, ChannelError, ChannelReader, Memory, layout


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel.create(rank=0)
    yield made
    made.close()


@pytest.fixture
def reader(channel: Channel) -> ChannelReader:
    # Mapped a second time, as the recorder has it.
    return ChannelReader(Memory.mapped(channel.memory.descriptor))


def test_steps_and_losses_arrive_with_what_is_known_of_them(channel: Channel, reader: ChannelReader) -> None:
    before = time.monotonic()
    channel.sender.step(7, 0.5, wait_s=0.1, epoch=2)
    channel.sender.step(8, 0.25)
    channel.sender.loss(7, 1.5)
    first, second, loss = reader.collect().steps
    assert (first.number, first.seconds, first.wait_s, first.loss, first.epoch) == (7, 0.5, 0.1, None, 2)
    assert (second.number, second.seconds, second.wait_s, second.epoch) == (8, 0.25, None, None)
    assert (loss.number, loss.seconds, loss.loss) == (7, None, 1.5)
    assert before <= first.monotonic_s <= time.monotonic()


def test_reason_why_the_recorder_cannot_write_is_known_until_it_can(
    channel: Channel, reader: ChannelReader
) -> None:
    assert channel.problem is None
    reader.note_problem(OSError("é" * 5000))
    assert channel.problem is not None
    assert channel.problem.startswith("éé")
    reader.note_problem(OSError("full"))
    assert channel.problem == "full"
    reader.note_problem(None)
    assert channel.problem is None


@pytest.mark.parametrize("time_s", ["NaN", "1e999", "-1e300", "1e12"])
def test_mark_of_no_possible_time_is_left_out(channel: Channel, reader: ChannelReader, time_s: str) -> None:
    """A row without a time would make the whole record unreadable."""
    entry = f'[{time_s},"epoch",{{"number":1}}]'.encode()
    begin = layout.slot_at(0) + layout.MARKS_AT
    channel.memory.view[begin : begin + 4 + len(entry)] = layout.LENGTH.pack(len(entry)) + entry
    channel.memory.numbers[layout.slot_at(0) // 8 + layout.MARKS_HEAD] = 4 + len(entry)
    channel.sender.mark("epoch", number=2)
    assert [one.detail for one in reader.collect().marks] == [{"number": 2}]


def test_step_of_no_possible_time_is_counted_as_lost(channel: Channel, reader: ChannelReader) -> None:
    channel.sender.step(1, float("nan"))
    channel.sender.step(2, 0.1, wait_s=float("inf"))
    channel.sender.step(3, 0.1)
    collected = reader.collect()
    assert ([one.number for one in collected.steps], collected.overwritten) == ([3], 2)


def test_numbers_that_a_wild_write_has_changed_end_no_program(channel: Channel) -> None:
    for name in (layout.STEPS_HEAD, layout.MARKS_HEAD, layout.MARKS_TAIL, layout.LOST, layout.WORDS):
        channel.memory.numbers[layout.slot_at(0) // 8 + name] = 2**64 - 1
    channel.sender.step(1, 0.1)
    channel.sender.mark("epoch", number=1)
    channel.sender.last_word(state="finished")


def test_what_is_not_accepted_is_collected_again(channel: Channel, reader: ChannelReader) -> None:
    channel.sender.mark("epoch", number=1)
    assert len(reader.collect().marks) == 1
    successor = ChannelReader(channel.memory)
    assert [one.detail for one in successor.collect().marks] == [{"number": 1}]
    successor.accept()
    assert ChannelReader(channel.memory).collect().marks == []


def test_a_ring_that_is_full_keeps_the_newest_steps_and_counts_the_others(
    channel: Channel, reader: ChannelReader
) -> None:
    for number in range(layout.STEPS + 100):
        channel.sender.step(number, 0.1)
    collected = reader.collect()
    assert collected.steps[-1].number == layout.STEPS + 99
    assert len(collected.steps) + collected.overwritten == layout.STEPS + 100


def test_marks_that_do_not_fit_are_counted_and_the_last_word_still_fits(
    channel: Channel, reader: ChannelReader
) -> None:
    for number in range(100):
        channel.sender.mark("note", number=number, text="x" * 1000)
    channel.sender.last_word(state="failed", traceback="y" * 10**6 + "the end")
    kept = reader.collect().marks
    assert len(kept) + channel.sender.lost == 100
    assert [one.detail["number"] for one in kept] == list(range(len(kept)))
    (word,) = reader.words()
    assert word.detail["traceback"].endswith("the end")


def test_the_mark_ring_is_used_round_and_round(channel: Channel, reader: ChannelReader) -> None:
    for number in range(2000):
        channel.sender.mark("note", number=number, text="é" * 50)
        (one,) = reader.collect().marks
        assert one.detail["number"] == number
        reader.accept()
    assert channel.sender.lost == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda sender: sender.step("three", 0.1),
        lambda sender: sender.step(1, object()),
        lambda sender: sender.step(2**80, 0.1),
        lambda sender: sender.mark("note", value=Hostile()),
    ],
)
def test_a_wrong_argument_is_counted_and_never_raised(
    channel: Channel, reader: ChannelReader, call: object
) -> None:
    call(channel.sender)  # type: ignore[operator]
    assert channel.sender.lost == 1
    channel.sender.step(1, 0.1)
    channel.sender.mark("note", value=float("nan"))
    collected = reader.collect()
    assert len(collected.steps) == 1
    assert collected.marks[0].detail == {"value": "nan"}


class Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_a_signal_handler_in_the_middle_of_a_call_loses_nothing(
    channel: Channel, reader: ChannelReader
) -> None:
    handled = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal handled
        handled += 1
        channel.sender.mark("signal", number=handled)

    former = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    sent = seen = signals = 0
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        for _ in range(200):
            channel.sender.step(sent, 0.1)
            sent += 1
        collected = reader.collect()
        assert [one.number for one in collected.steps] == list(range(seen, seen + len(collected.steps)))
        seen += len(collected.steps)
        signals += len(collected.marks)
        reader.accept()
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)
    channel.sender.step(sent, 0.1)
    last = reader.collect()
    assert seen + len(last.steps) == sent + 1
    assert signals + len(last.marks) == handled > 10
    assert channel.sender.lost == 0


def test_threads_write_at_the_same_time(channel: Channel, reader: ChannelReader) -> None:
    def write(first: int) -> None:
        for number in range(first, first + 400):
            channel.sender.step(number, 0.1)

    threads = [threading.Thread(target=write, args=(1000 * one,)) for one in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = {one.number for one in reader.collect().steps}
    assert numbers == {1000 * one + number for one in range(4) for number in range(400)}


def test_what_another_thread_leaves_while_the_lock_is_held_goes_out_with_its_holder(
    channel: Channel, reader: ChannelReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender, write = channel.sender, channel.sender._write
    late = [7, 8]

    def write_and_be_late() -> None:
        write()
        if late:
            sender.step(late.pop(0), 0.1)  # finds the lock held

    monkeypatch.setattr(sender, "_write", write_and_be_late)
    sender.step(6, 0.1)
    assert [one.number for one in reader.collect().steps] == [6, 7, 8]


def test_a_record_that_was_overwritten_while_it_was_read_is_not_believed(
    channel: Channel, reader: ChannelReader
) -> None:
    for number in range(3):
        channel.sender.step(number, 0.1)
    place = layout.slot_at(0) + layout.STEPS_AT + layout.STEP.size
    layout.STEP.pack_into(channel.memory.view, place, 2 + layout.STEPS, 1, 99, 0.0, 0.0, 0.0, 0.0, 0)
    collected = reader.collect()
    assert [one.number for one in collected.steps] == [0, 2]
    assert collected.overwritten == 1


def test_memory_that_its_maker_could_shrink_is_refused(channel: Channel) -> None:
    descriptor = os.memfd_create("unsealed", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, layout.TOTAL_BYTES)
    os.pwrite(descriptor, layout.MAGIC, 0)
    with pytest.raises(ChannelError, match="no memory of a recorder"):
        Channel.join(f"/proc/{os.getpid()}/fd/{descriptor}#{channel.address.partition('#')[2]}")
    os.close(descriptor)


def test_a_forked_copy_writes_nothing(channel: Channel, reader: ChannelReader) -> None:
    pid = os.fork()
    if not pid:
        channel.sender.step(1, 0.1)
        channel.sender.mark("note")
        channel.sender.last_word(state="finished")
        os._exit(0)
    os.waitpid(pid, 0)
    collected = reader.collect()
    assert (collected.steps, collected.marks, reader.words()) == ([], [], [])


JOINING = """
import os, sys
from pylon.recorder.channel import Channel
joined = Channel.of_process_tree(os.environ, rank=3)
joined.sender.mark("joined")
for number in range(10**9):
    joined.sender.step(number, 0.1)
    if number == 100:
        print("ready", flush=True)
"""


def test_another_process_joins_and_its_death_in_the_middle_leaves_whole_records(
    channel: Channel, reader: ChannelReader
) -> None:
    environment = {**os.environ, VARIABLE: channel.address}
    joined = subprocess.Popen([sys.executable, "-c", JOINING], env=environment, stdout=subprocess.PIPE)
    assert joined.stdout is not None
    assert joined.stdout.readline() == b"ready\n"
    joined.kill()
    joined.wait()
    joined.stdout.close()
    collected = reader.collect()
    assert [one.kind for one in collected.marks] == ["joined"]
    numbers = [one.number for one in collected.steps]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert {one.seconds for one in collected.steps} == {0.1}
    assert [one.rank for one in reader.writers()] == [0, 3]
    reader.accept()
    reader.free_ended()
    assert [one.rank for one in reader.writers()] == [0]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("/proc/self/fd/3", "expected"),
        ("/etc/passwd#1", "expected"),
        ("/proc/4194000/fd/3#17", "has ended"),
        ("{own}/fd/{device}#{ticks}", "no memory of a recorder"),
        ("{own}/fd/{file}#{ticks}", "another version"),
        ("{own}/fd/9999#{ticks}", "No such file"),
    ],
)
def test_an_address_that_is_none_is_refused_with_its_reason(
    channel: Channel, tmp_path: Path, address: str, why: str
) -> None:
    with open("/dev/zero", "rb") as device, (tmp_path / "file").open("w+") as file:  # noqa: PTH123 - a device
        ticks = channel.address.partition("#")[2]
        given = address.format(
            own=f"/proc/{os.getpid()}", device=device.fileno(), file=file.fileno(), ticks=ticks
        )
        with pytest.raises(ChannelError, match=why):
            Channel.join(given)
    environment = {VARIABLE: given}
    assert Channel.of_process_tree(environment) is None
    assert environment == {}


def test_more_writers_than_slots_are_refused(channel: Channel) -> None:
    joined = [Channel.join(channel.address) for _ in range(layout.SLOTS - 1)]
    with pytest.raises(ChannelError, match="64 processes"):
        Channel.join(channel.address)
    for one in joined:
        one.close()


def test_a_descriptor_that_the_program_has_closed_is_not_closed_for_another_file(tmp_path: Path) -> None:
    channel = Channel.create()
    number = channel.memory.descriptor
    with (tmp_path / "file").open("wb") as file:
        # Closes the channel's, and gives its number to the file.
        os.dup2(file.fileno(), number)
        channel.sender.step(1, 0.1)
        channel.close()
        os.fstat(number)
        os.close(number)


def test_a_channel_that_nothing_reads_takes_all_and_is_closed_twice() -> None:
    unread = Channel.unread()
    unread.sender.step(1, 0.1)
    unread.sender.mark("note")
    unread.close()
    unread.close()
    assert unread.sender.lost == 0


def test_nobody_can_shrink_the_memory_under_a_writer(channel: Channel) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(channel.memory.descriptor, 0)


def test_a_step_costs_little(channel: Channel) -> None:
    step = channel.sender.step
    best = 1.0
    for _ in range(5):
        started = time.perf_counter()
        for number in range(1000):
            step(number, 0.1, 0.01, None, 1)
        best = min(best, (time.perf_counter() - started) / 1000)
    # About 1.6 microseconds on a slow machine; ten times that would still be nothing in a step.
    assert best < 16e-6
