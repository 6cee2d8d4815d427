"""The shared memory itself: made, found by its address, and checked before it is used."""

import fcntl
import mmap
import os
import re
import stat
import struct
import time
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.channel import layout

# In the environment of every process below one that records.
VARIABLE = "PYLON_RECORDER"
_ADDRESS = re.compile(r"(/proc/(\d{1,10})/fd/\d{1,10})#(\d{1,20})")
_SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
# Above the standard streams, which a program may have closed.
_FIRST_NUMBER = 10
_LOCK = struct.Struct("hhqqi4x")
_CLAIM_WITHIN_S = 0.2


class ChannelError(Exception):
    """There is no channel at an address, or it cannot be used. The text has the reason."""


@dataclass(frozen=True, slots=True)
class Memory:
    """A mapped channel.

    Attributes:
        descriptor: of the memory file.
        view: all bytes.
        numbers: the same as unsigned 8-byte numbers.
        reals: the same as doubles.
    """

    descriptor: int
    view: memoryview
    numbers: "memoryview[int]"
    reals: "memoryview[float]"

    @classmethod
    def create(cls) -> "Memory":
        """New memory; its size is sealed, so no access to it can fail later.

        Raises:
            OSError: the system has no memory files, or no memory.
        """
        low = os.memfd_create("pylon-recorder", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            descriptor = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FIRST_NUMBER)
        finally:
            os.close(low)
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, layout.TOTAL_BYTES)
        os.posix_fallocate(descriptor, 0, layout.HEADER_BYTES)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        memory = cls.mapped(descriptor)
        memory.view[: len(layout.MAGIC)] = layout.MAGIC
        memory.numbers[layout.SIZE] = layout.TOTAL_BYTES
        memory.numbers[layout.CREATOR_PID] = os.getpid()
        memory.numbers[layout.CREATOR_TICKS] = start_ticks(os.getpid()) or 0
        memory.reals[layout.BEGAN_WALL] = time.time()
        memory.reals[layout.BEGAN_MONOTONIC] = time.monotonic()
        return memory

    @classmethod
    def mapped(cls, descriptor: int) -> "Memory":
        """The memory behind a descriptor, which it keeps."""
        view = memoryview(mmap.mmap(descriptor, layout.TOTAL_BYTES))
        return cls(descriptor, view, view.cast("Q"), view.cast("d"))

    @classmethod
    def unshared(cls) -> "Memory":
        """Memory of this process alone, without a descriptor."""
        view = memoryview(mmap.mmap(-1, layout.TOTAL_BYTES))
        return cls(-1, view, view.cast("Q"), view.cast("d"))

    @classmethod
    def at(cls, address: str) -> "Memory":
        """The memory that another process, or this one, has created.

        Args:
            address: as the environment variable holds it.

        Raises:
            ChannelError: there is none, it is another user's, or it is of another version.
        """
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise ChannelError(f"{VARIABLE}={address!r}: expected /proc/PID/fd/NUMBER#START_TIME")
        path, pid, ticks = found[1], int(found[2]), int(found[3])
        if start_ticks(pid) != ticks:
            raise ChannelError(f"{VARIABLE}={address}: process {pid} has ended")
        try:
            # Not only after it is open: to open a pipe or a device has effects.
            if not stat.S_ISREG(os.stat(path).st_mode):  # noqa: PTH116 - the number is what counts
                raise ChannelError(f"{VARIABLE}={address}: it is no memory of a recorder")
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise ChannelError(f"{VARIABLE}={address}: {error.strerror}") from error
        try:
            _check(descriptor, address)
            return cls.mapped(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def address(self) -> str:
        """Under which other processes of this user find it, while its creator lives."""
        pid, ticks = self.numbers[layout.CREATOR_PID], self.numbers[layout.CREATOR_TICKS]
        return f"/proc/{pid}/fd/{self.descriptor}#{ticks}"

    def claim(self, rank: int | None) -> int:
        """Take a free slot for this process; its number.

        Raises:
            ChannelError: none is free.
        """
        if self.descriptor < 0:
            return 0
        _lock(self.descriptor)
        try:
            for number in range(layout.SLOTS):
                start = layout.slot_at(number)
                if self.numbers[start // 8 + layout.OWNER_PID]:
                    continue
                # Later, a machine without memory would end this process with SIGBUS.
                os.posix_fallocate(self.descriptor, start, layout.SLOT_BYTES)
                self.numbers[start // 8 + layout.RANK] = 0 if rank is None else rank + 1
                self.numbers[start // 8 + layout.OWNER_TICKS] = start_ticks(os.getpid()) or 0
                self.numbers[start // 8 + layout.OWNER_PID] = os.getpid()
                return number
        except OSError as error:
            raise ChannelError(f"no memory for a further writer: {error}") from error
        finally:
            _unlock(self.descriptor)
        raise ChannelError(f"{layout.SLOTS} processes write to this recorder already")


def start_ticks(pid: int) -> int | None:
    """When a process of this machine started, in clock ticks; None if it has ended (proc(5))."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    ended = after_name[:1] in ([b"Z"], [b"X"])
    return None if ended or len(after_name) < 20 else int(after_name[19])


def _check(descriptor: int, address: str) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_size != layout.TOTAL_BYTES:
        raise ChannelError(f"{VARIABLE}={address}: another user's, or of another version of Pylon")
    try:
        seals = fcntl.fcntl(descriptor, fcntl.F_GET_SEALS)
    except OSError as error:
        raise ChannelError(f"{VARIABLE}={address}: it is no memory of a recorder") from error
    if seals & _SEALS != _SEALS or os.pread(descriptor, len(layout.MAGIC), 0) != layout.MAGIC:
        raise ChannelError(f"{VARIABLE}={address}: it is no memory of a recorder")


def _lock(descriptor: int) -> None:
    """Keep other processes from claiming; the lock ends with the process. Does not wait without a limit."""
    until_s = time.monotonic() + _CLAIM_WITHIN_S
    while True:
        try:
            fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 1, 0))
        except BlockingIOError as error:
            if time.monotonic() > until_s:
                raise ChannelError("another process is joining and does not finish") from error
            time.sleep(0.001)
        except OSError as error:
            raise ChannelError(f"locks: {error}") from error
        else:
            return


def _unlock(descriptor: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _LOCK.pack(fcntl.F_UNLCK, os.SEEK_SET, 0, 1, 0))
