"""What the processes report to each other, and how it crosses a pipe.

A frame is a length and a pickle. Both ends are processes of ours that one training process
started; nothing else has the pipes.
"""

import os
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pylon.monitor.process.pipes import PipeEnd
from pylon.monitor.settings import MonitorSettings
from pylon.monitor.status.health import MonitorHealth

# Where the supervisor finds its pipes to the training process.
HEALTH_DESCRIPTOR, DATA_DESCRIPTOR = 3, 4
# Where it finds what the run gives to its companion.
COMPANION_DESCRIPTOR = 5
# How often the supervisor reports its health, as a sign of life.
HEALTH_EVERY_S = 1.0
# In place of a health report that is the same as the one before.
UNCHANGED = True
# What the training process writes into the lifeline. LEAVE: stop, but let the companion see the run's end.
STOP, RELEASE, RESUME, LEAVE = b"srcl"
_LENGTH_BYTES = 4
# A report is some kilobytes per server; a length beyond this is a torn stream, not a frame.
_MAXIMUM_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class MonitorSpec:
    """All that a worker needs to run one monitor.

    Attributes:
        name: the monitor's name, unique among those of one supervisor.
        module, qualname: where its class is found.
        arguments: what its constructor was called with, pickled: only the worker imports what it names.
        interval_s: between two readings.
        timeout_s: how long one may take.
    """

    name: str
    module: str
    qualname: str
    arguments: bytes
    interval_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class CompanionSpec:
    """All that is needed to run a companion.

    Attributes:
        name: of the process.
        module, function: what it calls.
        arguments: what that gets, pickled.
    """

    name: str
    module: str
    function: str
    arguments: bytes


@dataclass(frozen=True, slots=True)
class Companion:
    """What a run gives to its supervisor to be started next to the monitors.

    Attributes:
        name: of the process, as 'pylon-NAME' in a process list.
        function: of a module; called in the new process with `arguments` and what it works with.
        arguments: what it needs; pickled.
        descriptor: of a file that the process gets; the run keeps it open.
    """

    name: str
    function: Callable[[Any, Any], None]
    arguments: object
    descriptor: int

    def spec(self) -> CompanionSpec:
        """What the supervisor is sent."""
        return CompanionSpec(
            self.name, self.function.__module__, self.function.__name__, pickle.dumps(self.arguments)
        )


@dataclass(frozen=True, slots=True)
class SupervisorSpec:
    """All that a supervisor needs.

    Attributes:
        monitors: what to run.
        parent_pid: the training process.
        settings: `interval_s` between two snapshots, `timeout_s` of a report to the Manager, `join_timeout_s`
            for an orderly end, and the limits of each process.
        companion: what else to run; None: nothing.
    """

    monitors: tuple[MonitorSpec, ...]
    parent_pid: int
    settings: MonitorSettings
    companion: CompanionSpec | None = None


@dataclass(frozen=True, slots=True)
class HealthReport:
    """What the supervisor reports several times a second; its absence is news too.

    Attributes:
        processes: by name.
        last_word: the traceback of a supervisor that fails; None while it works.
        left_behind: in the last report of all, process ids by name of what could not be ended.
    """

    processes: dict[str, MonitorHealth] = field(default_factory=dict)
    last_word: str | None = None
    left_behind: dict[str, int] = field(default_factory=dict)


def encode(message: object) -> bytes:
    """A frame that holds `message`."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return len(content).to_bytes(_LENGTH_BYTES, "little") + content


def read_one(descriptor: int) -> Any:  # noqa: ANN401 - whatever was sent
    """Wait for one frame, and take not a byte of what comes behind it.

    Raises:
        EOFError: the other side has closed before.
    """
    length = int.from_bytes(_read_exactly(descriptor, _LENGTH_BYTES), "little")
    return pickle.loads(_read_exactly(descriptor, length))


def _read_exactly(descriptor: int, count: int) -> bytes:
    content = b""
    while len(content) < count:
        piece = os.read(descriptor, count - len(content))
        if not piece:
            raise EOFError("the other side has closed")
        content += piece
    return content


class FrameReader:
    """Reads whole frames from a non-blocking pipe, however they arrive in pieces.

    Args:
        descriptor: the reading end.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._end = PipeEnd(descriptor)
        self._buffer = bytearray()

    def read(self) -> list[Any]:
        """All frames that have arrived whole, the last words of a side that has closed included.

        Raises:
            EOFError: the other side has closed and all was read, or what came is no frame.
            OSError: this side was closed by other code.
        """
        closed = False
        while not closed:
            try:
                piece = os.read(self._end.checked(), 65536)
            except BlockingIOError:
                break
            closed = not piece
            self._buffer += piece
        frames = list(iter(self._next_frame, None))
        if closed and not frames:
            raise EOFError("the other side has closed")
        return frames

    def _next_frame(self) -> Any:  # noqa: ANN401 - whatever was sent
        if len(self._buffer) < _LENGTH_BYTES:
            return None
        length = int.from_bytes(self._buffer[:_LENGTH_BYTES], "little")
        if length > _MAXIMUM_BYTES:
            raise EOFError(f"a frame of {length} bytes: the stream is torn")
        if len(self._buffer) < _LENGTH_BYTES + length:
            return None
        content = bytes(self._buffer[_LENGTH_BYTES : _LENGTH_BYTES + length])
        del self._buffer[: _LENGTH_BYTES + length]
        return pickle.loads(content)


class FrameWriter:
    """Writes frames to a non-blocking pipe and never waits for its reader.

    A frame that has begun is finished later; one that has not is dropped when a newer one comes,
    as only the newest is of use.

    Args:
        descriptor: the writing end.
    """

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._begun = memoryview(b"")

    @property
    def unfinished(self) -> bool:
        """Whether a frame has begun and not ended; `push` or `write` goes on with it."""
        return bool(self._begun)

    def write(self, message: object) -> bool:
        """Send `message` if the pipe takes it now; False where an earlier frame still fills it.

        Raises:
            OSError: the pipe is closed.
        """
        self.push()
        if self._begun:
            return False
        self._begun = memoryview(encode(message))
        self.push()
        return True

    def push(self) -> None:
        """Go on with a frame that has begun, as far as the pipe takes it now.

        Raises:
            OSError: the pipe is closed.
        """
        while self._begun:
            try:
                written = os.write(self.descriptor, self._begun)
            except BlockingIOError:
                return
            self._begun = self._begun[written:]
