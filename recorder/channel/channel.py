"""A channel as a process holds it: its own, or that of the first recorder in its process tree."""

import contextlib
import os
from collections.abc import MutableMapping
from typing import Self

from pylon.recorder.channel import layout
from pylon.recorder.channel.memory import VARIABLE, ChannelError, Memory
from pylon.recorder.channel.sender import Sender


class Channel:
    """Shared memory and this process's slot in it.

    Args:
        memory: of the channel.
        rank: of this process among those that train together; None if it has none.

    Attributes:
        sender: writes into the slot.
        address: how other processes of this user find it.

    Raises:
        ChannelError: all slots are taken.
    """

    def __init__(self, memory: Memory, rank: int | None = None) -> None:
        self.memory = memory
        self.sender = Sender(memory, memory.claim(rank))
        self.address = memory.address
        self._pid = os.getpid()
        self._identity = _identity(memory.descriptor)

    @classmethod
    def create(cls, rank: int | None = None) -> Self:
        """A channel of this process's own.

        Raises:
            OSError: the system has no memory files, or no memory.
            ChannelError: the memory cannot be locked.
        """
        return cls(Memory.create(), rank)

    @classmethod
    def unread(cls) -> Self:
        """A channel without a reader, for a program that is not recorded."""
        return cls(Memory.unshared())

    @classmethod
    def join(cls, address: str, rank: int | None = None) -> Self:
        """The channel at an address.

        Raises:
            ChannelError: there is none; the text has the reason.
        """
        memory = Memory.at(address)
        joined = cls(memory, rank)
        joined.address = address
        return joined

    @classmethod
    def of_process_tree(cls, environment: MutableMapping[str, str], rank: int | None = None) -> Self | None:
        """The channel of the first recorder above this process, or in it; None if there is none.

        Args:
            environment: os.environ.
            rank: see above.
        """
        address = environment.get(VARIABLE)
        if address is None:
            return None
        with contextlib.suppress(ChannelError):
            return cls.join(address, rank)
        # It has ended. What this process starts must not look for it either.
        environment.pop(VARIABLE, None)
        return None

    @property
    def begun(self) -> bool:
        """Whether the launch is in the record."""
        return bool(self.memory.numbers[layout.LAUNCH])

    @property
    def ended(self) -> bool:
        """Whether the end of the launch is in the record."""
        return bool(self.memory.numbers[layout.ENDED])

    @property
    def problem(self) -> str | None:
        """Why the recorder cannot write at present; None: it can, or has not tried yet."""
        (length,) = layout.LENGTH.unpack_from(self.memory.view, layout.PROBLEM_AT)
        begin = layout.PROBLEM_AT + layout.LENGTH.size
        content = bytes(self.memory.view[begin : begin + min(length, layout.PROBLEM_BYTES)])
        return content.decode(errors="replace") or None

    @property
    def recorder_pid(self) -> int | None:
        """The process that records; None before it has begun."""
        return int(self.memory.numbers[layout.RECORDER_PID]) or None

    def ask_to_stop(self) -> None:
        """Have the recording ended, also by a recorder that its supervisor no longer reaches."""
        self.memory.numbers[layout.STOP_ASKED] = 1

    def close(self) -> None:
        """Note nothing more. The memory stays as long as another process has it."""
        self.sender.close()
        if self._identity is None or os.getpid() != self._pid:
            return
        # A program may have closed every descriptor that it found, and have a file of its own there.
        if self._identity == _identity(self.memory.descriptor):
            os.close(self.memory.descriptor)


def _identity(descriptor: int) -> tuple[int, int] | None:
    try:
        status = os.fstat(descriptor)
    except OSError:
        return None
    return status.st_dev, status.st_ino
