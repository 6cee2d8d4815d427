"""The recorder's side: what the writers have counted is taken, and given up once it is on the disk."""

import math
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pylon.recorder.channel import layout
from pylon.recorder.channel.memory import Memory, start_ticks
from pylon.storage import parsed_json

# A time beyond is what a wild write of native code, or a process without care, has left in the memory.
_FARTHEST_S = 10 * 365 * 86_400.0


class StepRecord(NamedTuple):
    """A step, or the loss of one; without time and loss, a step of which neither is known.

    Attributes:
        slot: of the writer.
        number: counted over all epochs.
        monotonic_s: when it was noted.
        seconds: what it took; None: not known, or this is a loss that came later.
        wait_s, loss, epoch: None if they were not noted.
    """

    slot: int
    number: int
    monotonic_s: float
    seconds: float | None
    wait_s: float | None
    loss: float | None
    epoch: int | None


class MarkRecord(NamedTuple):
    """An event.

    Attributes:
        slot: of the writer.
        monotonic_s: when it was noted.
        kind: of the event.
        detail: more of it.
    """

    slot: int
    monotonic_s: float
    kind: str
    detail: dict[str, Any]


class Writer(NamedTuple):
    """A process that has claimed a slot.

    Attributes:
        slot: its number.
        pid, start_ticks: the process.
        rank: None if it has none.
        stack_signal, stack_descriptor: how its stacks are asked for; signal 0: not at all.
        lost: calls that could not be stored.
    """

    slot: int
    pid: int
    start_ticks: int
    rank: int | None
    stack_signal: int
    stack_descriptor: int
    lost: int


@dataclass
class Collected:
    """What is new.

    Attributes:
        steps, marks: in each writer's order.
        overwritten: steps that the ring had no more room for.
    """

    steps: list[StepRecord] = field(default_factory=list)
    marks: list[MarkRecord] = field(default_factory=list)
    overwritten: int = 0


class ChannelReader:
    """Reads all slots. There is one reader at a time; the next one goes on where it has `accept`ed.

    Args:
        memory: of the channel.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self._numbers = memory.numbers
        self._tails: dict[int, tuple[int, int]] = {}

    @property
    def launch(self) -> int | None:
        """The launch that a former recorder of this channel has begun."""
        return int(self._numbers[layout.LAUNCH]) or None

    @launch.setter
    def launch(self, number: int) -> None:
        self._numbers[layout.LAUNCH] = number

    @property
    def ended(self) -> bool:
        """Whether the end of the launch is on the disk."""
        return bool(self._numbers[layout.ENDED])

    def note_end(self) -> None:
        """The end of the launch is on the disk."""
        self._numbers[layout.ENDED] = 1

    @property
    def stop_asked(self) -> bool:
        """Whether the program wants its recording to end."""
        return bool(self._numbers[layout.STOP_ASKED])

    @property
    def recorder(self) -> tuple[int, int] | None:
        """The process that records: its pid and its start time; None before the first."""
        pid = int(self._numbers[layout.RECORDER_PID])
        return (pid, int(self._numbers[layout.RECORDER_TICKS])) if pid else None

    def note_recorder(self, pid: int, ticks: int) -> None:
        """Which process records, and when it was started."""
        self._numbers[layout.RECORDER_TICKS] = ticks
        self._numbers[layout.RECORDER_PID] = pid

    def note_problem(self, error: Exception | None) -> None:
        """Why nothing can be written at present; None: it can. To be noted before the launch's number."""
        content = ("" if error is None else str(error)).encode(errors="replace")[
            : layout.PROBLEM_BYTES - layout.LENGTH.size
        ]
        begin = layout.PROBLEM_AT + layout.LENGTH.size
        self.memory.view[begin : begin + len(content)] = content
        layout.LENGTH.pack_into(self.memory.view, layout.PROBLEM_AT, len(content))

    @property
    def began_at(self) -> float:
        """Unix time at which the launch began."""
        return float(self.memory.reals[layout.BEGAN_WALL])

    def wall(self, monotonic_s: float) -> float:
        """Steady wall-clock time: that of the launch's begin, and from there on without jumps."""
        reals = self.memory.reals
        return float(reals[layout.BEGAN_WALL] + monotonic_s - reals[layout.BEGAN_MONOTONIC])

    def writers(self) -> list[Writer]:
        """Who has claimed a slot."""
        found = []
        for slot in range(layout.SLOTS):
            base = layout.slot_at(slot) // 8
            pid = int(self._numbers[base + layout.OWNER_PID])
            if not pid:
                continue
            names = (
                layout.OWNER_TICKS,
                layout.RANK,
                layout.STACK_SIGNAL,
                layout.STACK_DESCRIPTOR,
                layout.LOST,
            )
            ticks, rank, number, descriptor, lost = (int(self._numbers[base + name]) for name in names)
            found.append(Writer(slot, pid, ticks, rank - 1 if rank else None, number, descriptor, lost))
        return found

    def collect(self) -> Collected:
        """What the writers have noted since the last `accept`."""
        collected = Collected()
        for slot in range(layout.SLOTS):
            base = layout.slot_at(slot) // 8
            if self._numbers[base + layout.OWNER_PID]:
                self._tails[slot] = (self._steps(slot, base, collected), self._marks(slot, base, collected))
        return collected

    def accept(self) -> None:
        """What was collected is on the disk: its room is free."""
        for slot, (steps, marks) in self._tails.items():
            base = layout.slot_at(slot) // 8
            self._numbers[base + layout.STEPS_TAIL] = steps
            self._numbers[base + layout.MARKS_TAIL] = marks
        self._tails.clear()

    def words(self) -> list[MarkRecord]:
        """The newest last word of each writer that has one."""
        found = []
        for slot in range(layout.SLOTS):
            start = layout.slot_at(slot)
            count = self._numbers[start // 8 + layout.WORDS]
            if not self._numbers[start // 8 + layout.OWNER_PID] or not count:
                continue
            place = start + layout.WORDS_AT + (count - 1) % 2 * layout.WORD_BYTES
            (length,) = layout.LENGTH.unpack_from(self.memory.view, place)
            begin = place + layout.LENGTH.size
            content = bytes(self.memory.view[begin : begin + min(length, layout.WORD_BYTES)])
            word = _decoded(slot, content)
            found += [] if word is None else [word]
        return found

    def free_ended(self) -> None:
        """Give back the slots of processes that have ended, after all that they have noted is accepted."""
        for one in self.writers():
            base = layout.slot_at(one.slot) // 8
            drained = all(
                self._numbers[base + head] == self._numbers[base + tail]
                for head, tail in (
                    (layout.STEPS_HEAD, layout.STEPS_TAIL),
                    (layout.MARKS_HEAD, layout.MARKS_TAIL),
                )
            )
            # A last word stays until the launch ends.
            if drained and not self._numbers[base + layout.WORDS] and start_ticks(one.pid) != one.start_ticks:
                self._numbers[base + layout.STACK_SIGNAL] = self._numbers[base + layout.LOST] = 0
                self._numbers[base + layout.OWNER_PID] = 0

    def _steps(self, slot: int, base: int, collected: Collected) -> int:
        head = int(self._numbers[base + layout.STEPS_HEAD])
        tail = min(int(self._numbers[base + layout.STEPS_TAIL]), head)
        begin = max(tail, head - layout.STEPS)
        start, view = 8 * base + layout.STEPS_AT, self.memory.view
        records = [
            layout.STEP.unpack_from(view, start + index % layout.STEPS * layout.STEP.size)
            for index in range(begin, head)
        ]
        # While they were read, the writer may have gone round: those places, and the next one, are its own.
        intact = int(self._numbers[base + layout.STEPS_HEAD]) - layout.STEPS
        for index, record in enumerate(records, begin):
            _, kind, number, monotonic_s, seconds, wait_s, loss, epoch = record
            is_sane = _is_time(monotonic_s) and math.isfinite(seconds) and math.isfinite(wait_s)
            if index <= intact or record[0] != index + 1 or not is_sane:
                collected.overwritten += 1
                continue
            collected.steps.append(
                StepRecord(
                    slot,
                    number,
                    monotonic_s,
                    seconds if kind & layout.HAS_STEP else None,
                    wait_s if kind & layout.HAS_WAIT else None,
                    loss if kind & layout.HAS_LOSS else None,
                    epoch if kind & layout.HAS_EPOCH else None,
                )
            )
        collected.overwritten += begin - tail
        return head

    def _marks(self, slot: int, base: int, collected: Collected) -> int:
        head, tail = (int(self._numbers[base + one]) for one in (layout.MARKS_HEAD, layout.MARKS_TAIL))
        if not 0 <= head - tail <= layout.MARKS_BYTES:
            return head
        start = 8 * base + layout.MARKS_AT
        begin = tail % layout.MARKS_BYTES
        ring = self.memory.view[start : start + layout.MARKS_BYTES]
        content = bytes(ring[begin : begin + head - tail]) + bytes(
            ring[: max(0, begin + head - tail - layout.MARKS_BYTES)]
        )
        while len(content) > layout.LENGTH.size:
            (length,) = layout.LENGTH.unpack_from(content)
            entry, content = content[layout.LENGTH.size :][:length], content[layout.LENGTH.size + length :]
            mark = _decoded(slot, entry)
            collected.marks += [] if mark is None else [mark]
        return head


def _is_time(monotonic_s: float) -> bool:
    """Whether it may be the time of an event; the clocks of containers may differ, by their offset."""
    return abs(monotonic_s - time.monotonic()) < _FARTHEST_S


def _decoded(slot: int, content: bytes) -> MarkRecord | None:
    """An entry; None if its memory was written by something else."""
    try:
        monotonic_s, kind, detail = parsed_json(content)
    except (ValueError, TypeError):
        return None
    if not isinstance(monotonic_s, float | int) or not isinstance(kind, str) or not isinstance(detail, dict):
        return None
    if not _is_time(monotonic_s):
        return None
    return MarkRecord(slot, float(monotonic_s), kind, detail)
