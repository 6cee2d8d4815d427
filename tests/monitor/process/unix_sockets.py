"""Which sockets a process has, and which of them other processes can connect to."""

import contextlib
from collections.abc import Iterator
from pathlib import Path


def unix_sockets() -> Iterator[tuple[str, str]]:
    """Inode number and address of every socket of this machine; the address is empty if it has none."""
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        fields = line.split(maxsplit=7)
        yield fields[6], fields[7] if len(fields) > 7 else ""


def sockets_of(pid: int) -> set[str]:
    """Inode numbers of a process's sockets."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            target = str(descriptor.readlink())
            if target.startswith("socket:["):
                found.add(target.removeprefix("socket:[").removesuffix("]"))
    return found
