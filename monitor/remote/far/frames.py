"""Frames: answers of the far shell, taken out of a stream of bytes whole or not at all.

    %PYLON 1 SEQUENCE BYTES SECTIONS UPTIME WALL_AT WALL     version, number of the request, sizes, clocks
    @NAME LINES                                              a section, and its lines
    ...
    %END SEQUENCE

'-' means a clock that cannot be read there. WALL is the wall clock at UPTIME's former value WALL_AT:
it takes a process to read it, so that is done rarely.
"""

import enum
import re
from collections import deque
from dataclasses import dataclass, field

from pylon.monitor.text import printable

MOST_BYTES = 2**20
VERSION = 1

_MAGIC = b"%PYLON "
_MOST_HEADER_BYTES = 160
_HEADER = re.compile(
    rb"%PYLON ([0-9]{1,6}) ([0-9]{1,10}) ([0-9]{1,12}) ([0-9]{1,4})"
    rb" (-|[0-9]{1,12}\.[0-9]{1,9}) (-|[0-9]{1,12}\.[0-9]{1,9}) (-|[0-9]{1,12}(?:\.[0-9]{1,9})?)"
)
_SECTION = re.compile(r"@([a-z_]{1,32}) ([0-9]{1,7})")
_MOST_REJECTIONS = 16
_MOST_GREETING_BYTES = 1024
_SHOWN_BYTES = 60


class FrameProblem(enum.Enum):
    """Why bytes from the far end were thrown away.

    garbage     bytes between two frames
    header      the first line of a frame is not in its format
    version     a frame of another protocol version
    oversized   a frame, or what came before the first one, is longer than any answer
    partial     the stream ended, or another frame began, within a frame
    no_end      a frame does not end after its length: bytes were lost, or written in between
    not_text    not UTF-8, or control characters
    sections    its parts do not have the stated lengths, or one is there twice
    reordered   an answer that is not newer than the one before
    unasked     an answer without a request
    """

    GARBAGE = "garbage"
    HEADER = "header"
    VERSION = "version"
    OVERSIZED = "oversized"
    PARTIAL = "partial"
    NO_END = "no_end"
    NOT_TEXT = "not_text"
    SECTIONS = "sections"
    REORDERED = "reordered"
    UNASKED = "unasked"


@dataclass(frozen=True, slots=True)
class Rejection:
    """Bytes that were thrown away.

    Attributes:
        problem: why.
        text: the same as a message; in one line, without control characters.
    """

    problem: FrameProblem
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole answer.

    Attributes:
        sequence: of the request.
        uptime_s: the far monotonic clock; None if there is none.
        wall_time_s: the far wall clock; likewise, and before it was first requested.
        sections: lines by name.
        size_bytes: on the wire.
    """

    sequence: int
    uptime_s: float | None = None
    wall_time_s: float | None = None
    sections: dict[str, tuple[str, ...]] = field(default_factory=dict)
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Header:
    sequence: int
    body_bytes: int
    sections: int
    header_bytes: int
    uptime_s: float | None
    wall_time_s: float | None


class FrameDecoder:
    """Finds frames in a stream of bytes. One per connection; keeps MOST_BYTES and a chunk at most.

    Bytes before the first frame are a greeting (a banner, a login shell that prints), and no
    problem; after it, all bytes between frames are one.

    Attributes:
        asked: the highest sequence requested, if the caller sets it: answers beyond are rejected.
        newest: the sequence of the newest frame; None before.
    """

    def __init__(self) -> None:
        self._data = bytearray()
        self._header: _Header | None = None
        self._rejections: deque[Rejection] = deque(maxlen=_MOST_REJECTIONS)
        self._greeting = bytearray()
        self._greeting_bytes = 0
        self._quiet = False
        self.asked: int | None = None
        self.newest: int | None = None

    @property
    def greeting(self) -> str:
        """The beginning of the bytes before the first frame: if no frame comes, they may explain why."""
        # What may become the first word of a frame is not taken off the data yet.
        waiting = self._data[:_MOST_GREETING_BYTES] if self.newest is None else b""
        return _shown(bytes(self._greeting + waiting), _MOST_GREETING_BYTES)

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes. Never raises; other bytes are in `take_rejections`."""
        frames: list[Frame] = []
        # So that one huge chunk takes no more memory than many small ones.
        for first in range(0, len(data), MOST_BYTES):
            self._data += data[first : first + MOST_BYTES]
            while self._step(frames):
                pass
        return frames

    def close(self) -> None:
        """The stream has ended: a frame that is not complete is rejected."""
        if self._header is not None:
            self._reject(FrameProblem.PARTIAL, f"the stream ended within frame {self._header.sequence}")
        self._header = None
        self._data.clear()

    def take_rejections(self) -> list[Rejection]:
        """What was thrown away since the last call; the newest of them, if they are many."""
        taken = list(self._rejections)
        self._rejections.clear()
        return taken

    def _step(self, frames: list[Frame]) -> bool:
        """Take the next part off the data; False if more must come first."""
        if self._header is None:
            return self._find_header()
        header = self._header
        end = b"%%END %d\n" % header.sequence
        size = header.header_bytes + header.body_bytes + len(end)
        if len(self._data) < size:
            return False
        self._header = None
        if self._data[size - len(end) : size] != end:
            # What was taken for its body may hold the next frame, if its own rest was lost.
            del self._data[: header.header_bytes]
            partial = self._data.find(_MAGIC, 0, header.body_bytes + len(end)) >= 0
            problem = FrameProblem.PARTIAL if partial else FrameProblem.NO_END
            self._reject(problem, f"frame {header.sequence} does not end after {header.body_bytes} bytes")
            self._quiet = True
            return True
        body = bytes(self._data[header.header_bytes : size - len(end)])
        del self._data[:size]
        frame = self._frame(header, body, size)
        if frame is not None:
            self.newest = frame.sequence
            frames.append(frame)
        self._quiet = False
        return True

    def _find_header(self) -> bool:
        start = self._data.find(_MAGIC)
        if start < 0:
            # The end may be the beginning of one.
            self._drop(max(0, len(self._data) - len(_MAGIC) + 1))
            return False
        self._drop(start)
        end = self._data.find(b"\n", 0, _MOST_HEADER_BYTES)
        if end < 0 and len(self._data) < _MOST_HEADER_BYTES:
            return False
        line = bytes(self._data[: max(end, 0)])
        found = _HEADER.fullmatch(line)
        if found is None:
            return self._refuse(FrameProblem.HEADER, f"not a frame's first line: {_shown(line)}")
        version, sequence, size, sections = (int(number) for number in found.groups()[:4])
        if version != VERSION:
            return self._refuse(FrameProblem.VERSION, f"version {version}, expected {VERSION}")
        if size > MOST_BYTES:
            return self._refuse(FrameProblem.OVERSIZED, f"frame {sequence} has {size} bytes")
        uptime, wall_at, wall = (None if clock == b"-" else float(clock) for clock in found.groups()[4:])
        if wall is not None and (uptime is None) == (wall_at is None):
            wall += (uptime or 0.0) - (wall_at or 0.0)
        else:
            wall = None
        self._header = _Header(sequence, size, sections, end + 1, uptime, wall)
        return True

    def _frame(self, header: _Header, body: bytes, size: int) -> Frame | None:
        sections = _sections(body, header.sections)
        wrong = sections if isinstance(sections, Rejection) else self._out_of_turn(header.sequence)
        if wrong is not None:
            self._reject(wrong.problem, f"frame {header.sequence}: {wrong.text}")
        if wrong is not None or isinstance(sections, Rejection):
            return None
        return Frame(header.sequence, header.uptime_s, header.wall_time_s, sections, size)

    def _out_of_turn(self, sequence: int) -> Rejection | None:
        if self.newest is not None and sequence <= self.newest:
            return Rejection(FrameProblem.REORDERED, f"came after frame {self.newest}")
        if self.asked is not None and sequence > self.asked:
            return Rejection(FrameProblem.UNASKED, f"only {self.asked} were requested")
        return None

    def _drop(self, count: int) -> None:
        """Throw away the bytes before a frame, if there are any."""
        if count == 0:
            return
        dropped = bytes(self._data[: max(_SHOWN_BYTES, _MOST_GREETING_BYTES)])[:count]
        del self._data[:count]
        if self.newest is None and not self._quiet:
            self._greeting += dropped[: _MOST_GREETING_BYTES - len(self._greeting)]
            self._greeting_bytes += count
            if self._greeting_bytes > MOST_BYTES:
                self._greeting_bytes = 0
                self._reject(FrameProblem.OVERSIZED, f"no frame in {MOST_BYTES} bytes")
        elif not self._quiet:
            self._reject(FrameProblem.GARBAGE, f"between frames: {_shown(dropped)}")
            # Reported once; the rest up to the next frame is not.
            self._quiet = True

    def _refuse(self, problem: FrameProblem, text: str) -> bool:
        """Reject what looked like a header; the next one is looked for behind its first word."""
        if problem is FrameProblem.HEADER and self.newest is None:
            # A greeting may have any content.
            self._drop(len(_MAGIC))
            return True
        self._reject(problem, text)
        del self._data[: len(_MAGIC)]
        self._quiet = True
        return True

    def _reject(self, problem: FrameProblem, text: str) -> None:
        self._rejections.append(Rejection(problem, text))


def _sections(body: bytes, count: int) -> dict[str, tuple[str, ...]] | Rejection:
    """The lines of each section, or what is wrong with them."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        return Rejection(FrameProblem.NOT_TEXT, f"not UTF-8: {error.reason}")
    if not text.replace("\n", "").replace("\t", "").isprintable():
        return Rejection(FrameProblem.NOT_TEXT, "control characters")
    sections = _split(text)
    if not isinstance(sections, str) and len(sections) != count:
        sections = f"{len(sections)} of {count}"
    return Rejection(FrameProblem.SECTIONS, sections) if isinstance(sections, str) else sections


def _split(text: str) -> dict[str, tuple[str, ...]] | str:
    lines = text.split("\n")
    if lines.pop():
        return "the last line has no end"
    sections: dict[str, tuple[str, ...]] = {}
    place = 0
    while place < len(lines):
        found = _SECTION.fullmatch(lines[place])
        if found is None:
            return f"not a section's first line: {_shown(lines[place].encode())}"
        name, count = found[1], int(found[2])
        place += 1
        if count > len(lines) - place:
            return f"{name} has {len(lines) - place} lines of {count}"
        if name in sections:
            return f"{name} is there twice"
        sections[name] = tuple(lines[place : place + count])
        place += count
    return sections


def _shown(raw: bytes, most: int = _SHOWN_BYTES) -> str:
    return printable(raw[:most].decode("utf-8", errors="replace"), " ").strip()
