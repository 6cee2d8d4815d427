"""The watched program's side: each call stores a few numbers and returns."""

import json
import math
import os
import struct
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from pylon.recorder.channel import layout
from pylon.recorder.channel.memory import Memory

_NO_EPOCH = 0
# One mark may take so much of its ring, so that others fit next to it.
_MOST_MARK_BYTES = layout.MARKS_BYTES // 4

_Step = tuple[int, int, float, float, float, float, int]


class Sender:
    """Writes one slot of a channel.

    Any thread and any signal handler may call it. A call never waits: what another call of this process is
    writing at the time goes out with that one. It never raises: what does not fit, or is of a wrong type, is
    counted as lost. A copy in a forked process does nothing.

    Args:
        memory: of the channel.
        slot: which one this process has claimed.
    """

    def __init__(self, memory: Memory, slot: int) -> None:
        self._pid = os.getpid()
        self._memory = memory
        self.slot = slot
        start = layout.slot_at(slot)
        self._view = memory.view[start : start + layout.SLOT_BYTES]
        self._numbers = self._view.cast("Q")
        self._lock = threading.Lock()
        # In the order of the calls; only the holder of the lock takes from them.
        self._steps: deque[_Step] = deque()
        self._marks: deque[bytes] = deque()
        self._words: deque[bytes] = deque()
        self._open = True

    @property
    def lost(self) -> int:
        """How many calls could not be stored."""
        return int(self._numbers[layout.LOST]) if self._open else 0

    def step(
        self,
        number: int,
        seconds: float,
        wait_s: float | None = None,
        loss: float | None = None,
        epoch: int | None = None,
    ) -> None:
        """Note a step of the training.

        Args:
            number: of the step, counted over all epochs.
            seconds: what it took.
            wait_s: how long of that it waited for its data.
            loss: if it is known already.
            epoch: counted from 0.
        """
        kind = layout.HAS_STEP
        if wait_s is None:
            wait_s = 0.0
        else:
            kind |= layout.HAS_WAIT
        if loss is None:
            loss = 0.0
        else:
            kind |= layout.HAS_LOSS
        if epoch is None:
            epoch = _NO_EPOCH
        else:
            kind |= layout.HAS_EPOCH
        self._steps.append((kind, number, time.monotonic(), seconds, wait_s, loss, epoch))
        self._flush()

    def untimed_step(self, number: int) -> None:
        """Note that a step was taken of which neither its time nor its loss is known."""
        self._steps.append((0, number, time.monotonic(), 0.0, 0.0, 0.0, _NO_EPOCH))
        self._flush()

    def loss(self, number: int, value: float) -> None:
        """Note the loss of a step, if that was not known when the step was noted."""
        self.losses([(number, value)])

    def losses(self, losses: Iterable[tuple[int, float]]) -> None:
        """Note those of several steps, by their numbers."""
        now = time.monotonic()
        self._steps.extend(
            (layout.HAS_LOSS, number, now, 0.0, 0.0, value, _NO_EPOCH) for number, value in losses
        )
        self._flush()

    def mark(self, kind: str, /, **detail: object) -> None:
        """Note an event.

        Args:
            kind: 'epoch', 'checkpoint_begin', ... (docs/recorder.md); others are kept as they are.
            detail: what JSON can express; anything else as its text.
        """
        self._marks.append(_encoded(kind, detail, _MOST_MARK_BYTES))
        self._flush()

    def last_word(self, **detail: object) -> None:
        """State how the program ends, in its own words. The newest counts; it always has room."""
        self._words.append(_encoded("end", detail, layout.WORD_BYTES))
        self._flush()

    def offer_stacks(self, signal_number: int, descriptor: int) -> None:
        """Let the recorder ask for the stacks of this process.

        Args:
            signal_number: what to send; 0: no more.
            descriptor: the memory file in which they are written.
        """
        if self._open and os.getpid() == self._pid:
            self._numbers[layout.STACK_DESCRIPTOR] = descriptor
            self._numbers[layout.STACK_SIGNAL] = signal_number

    def close(self) -> None:
        """Note nothing more."""
        self._open = False

    def _flush(self) -> None:
        if not self._open or os.getpid() != self._pid:
            self._steps.clear()
            self._marks.clear()
            self._words.clear()
            return
        # Who holds the lock looks again after it has released it: nothing is left behind.
        while (self._steps or self._marks or self._words) and self._lock.acquire(blocking=False):
            try:
                self._write()
            except (ValueError, struct.error):
                pass  # numbers that a wild write of native code has changed end no program
            finally:
                self._lock.release()

    def _write(self) -> None:
        while self._steps:
            self._write_step(self._steps.popleft())
        while self._marks:
            self._write_mark(self._marks.popleft())
        while self._words:
            self._write_word(self._words.popleft())

    def _write_step(self, step: _Step) -> None:
        index = self._numbers[layout.STEPS_HEAD]
        place = layout.STEPS_AT + index % layout.STEPS * layout.STEP.size
        try:
            layout.STEP.pack_into(self._view, place, index + 1, *step)
        except Exception:  # noqa: BLE001 - whatever a caller passes, its training goes on
            self._numbers[layout.LOST] += 1
            return
        self._numbers[layout.STEPS_HEAD] = index + 1

    def _write_mark(self, content: bytes) -> None:
        head, tail = self._numbers[layout.MARKS_HEAD], self._numbers[layout.MARKS_TAIL]
        entry = layout.LENGTH.pack(len(content)) + content
        if not content or head - tail + len(entry) > layout.MARKS_BYTES:
            self._numbers[layout.LOST] += 1
            return
        begin = head % layout.MARKS_BYTES
        first = min(len(entry), layout.MARKS_BYTES - begin)
        self._view[layout.MARKS_AT + begin : layout.MARKS_AT + begin + first] = entry[:first]
        self._view[layout.MARKS_AT : layout.MARKS_AT + len(entry) - first] = entry[first:]
        self._numbers[layout.MARKS_HEAD] = head + len(entry)

    def _write_word(self, content: bytes) -> None:
        if not content:
            self._numbers[layout.LOST] += 1
            return
        count = self._numbers[layout.WORDS]
        place = layout.WORDS_AT + count % 2 * layout.WORD_BYTES
        entry = layout.LENGTH.pack(len(content)) + content
        self._view[place : place + len(entry)] = entry
        self._numbers[layout.WORDS] = count + 1


def _encoded(kind: str, detail: Mapping[str, object], most: int) -> bytes:
    """An entry of at most `most` bytes with its length; empty if it cannot be made."""
    longest = 4 * most
    # Texts are shortened until it fits: the end of a traceback has what counts.
    for _ in range(8):
        try:
            parts = [time.monotonic(), kind, {name: _plain(one, longest) for name, one in detail.items()}]
            content = json.dumps(parts, separators=(",", ":"), allow_nan=False).encode()
        except Exception:  # noqa: BLE001 - a value's own code may raise anything; the training goes on
            return b""
        if len(content) + layout.LENGTH.size <= most:
            return content
        longest //= 3
    return b""


def _plain(value: object, longest: int) -> Any:  # noqa: ANN401 - whatever JSON takes
    if isinstance(value, str):
        return value if len(value) <= longest else "..." + value[-longest:]
    if isinstance(value, bool | int | None):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one, longest) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, longest) for one in value]
    return _plain(str(value), longest)
