"""Files of known host keys, in OpenSSH's format.

paramiko's reader stops at one bad line, takes `@revoked` for a host's name and knows no patterns.
"""

import base64
import binascii
import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha1, sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from pathlib import Path
from time import monotonic, sleep

from pylon.monitor.ssh.public_keys import kind_of

REVOKED = "@revoked"
AUTHORITY = "@cert-authority"

_LARGEST_FILE_BYTES = 64 * 2**20
_LONGEST_LOCK_S = 2.0


@dataclass(frozen=True, slots=True)
class HostKey:
    """A public key as a server shows it.

    Attributes:
        kind: "ssh-ed25519", "ssh-rsa", ...
        blob: the key.
    """

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """As `ssh-keygen -l` shows it: SHA256:..."""
        return "SHA256:" + base64.b64encode(sha256(self.blob).digest()).decode().rstrip("=")

    def __str__(self) -> str:
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True, slots=True)
class KnownKey:
    """One line of a file that is about the host asked for.

    Attributes:
        marker: "", REVOKED or AUTHORITY.
        key: the key.
        where: file and number of the line.
    """

    marker: str
    key: HostKey
    where: str


def known_keys(files: Iterable[Path], name: str) -> Iterator[KnownKey]:
    """What `files` know of a host. A file may be missing; a line that makes no sense is left out.

    Args:
        files: in order.
        name: "host", or "[host]:port" if the port is not 22.

    Raises:
        OSError: a file is there and cannot be read.
    """
    for path in files:
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_FILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            continue
        yield from _keys_of(content, path, name)


def _keys_of(content: bytes, path: Path, name: str) -> Iterator[KnownKey]:
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        fields = line.split()
        marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
        if len(fields) < 3 or fields[0].startswith("#") or not _is_for(fields[0], name):
            continue
        try:
            blob = base64.b64decode(fields[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        if kind_of(blob) == fields[1]:
            yield KnownKey(marker, HostKey(fields[1], blob), f"{path}:{number}")


def note(path: Path, name: str, key: HostKey, *, hashed: bool, check: Callable[[], bool]) -> None:
    """Append a key to a file: the whole line, or nothing.

    Args:
        path: made, readable by us alone, if it is missing; /dev/null: noted nowhere.
        name, key: what to note.
        hashed: write `name` so that it can be checked and not read.
        check: called when no other process of ours can write: whether it is still to be noted.

    Raises:
        OSError: it cannot be, or it would be written to a place that is not ours.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path != Path(os.devnull):
        _refuse_foreign(path.parent.stat(), path.parent)
    # A link there could lead the line into any file that we may write.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    number = os.open(path, flags, 0o600)
    try:
        status = os.fstat(number)
        if _is_null_device(status):
            # The user wants new keys to be noted nowhere.
            return
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a regular file")
        _refuse_foreign(status, path)
        _lock(number, path)
        if check():
            _append(number, path, f"{_hashed(name) if hashed else name} {key.kind} {_text(key.blob)}\n")
    finally:
        os.close(number)


def _is_null_device(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and os.path.samestat(status, Path(os.devnull).stat())


def _append(number: int, path: Path, line: str) -> None:
    size = os.fstat(number).st_size
    at_line_start = size == 0 or os.pread(number, 1, size - 1) == b"\n"
    data = (line if at_line_start else "\n" + line).encode()
    try:
        if os.write(number, data) != len(data):
            raise OSError(f"{path}: there is no room for another line")
        os.fsync(number)
    except OSError:
        # Half a line would spoil the next one.
        os.ftruncate(number, size)
        raise


def _lock(number: int, path: Path) -> None:
    until_s = monotonic() + _LONGEST_LOCK_S
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if monotonic() >= until_s:
                raise OSError(f"{path} is locked by another process") from None
            sleep(0.02)
        else:
            return


def _refuse_foreign(status: os.stat_result, path: Path) -> None:
    if status.st_uid != os.getuid() or status.st_mode & stat.S_IWOTH:
        raise PermissionError(f"{path} belongs to another user, or everybody can write it")


def _is_for(names: str, name: str) -> bool:
    if names.startswith("|"):
        return _is_hash_of(names, name)
    return pattern_list_matches(name, names.lower())


def _is_hash_of(hashed: str, name: str) -> bool:
    parts = hashed.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, wanted = (base64.b64decode(part, validate=True) for part in parts[2:])
    except (binascii.Error, ValueError):
        return False
    return compare_digest(hmac_digest(salt, name.encode(), "sha1"), wanted)


def _hashed(name: str) -> str:
    salt = os.urandom(sha1(usedforsecurity=False).digest_size)
    return f"|1|{_text(salt)}|{_text(hmac_digest(salt, name.encode(), 'sha1'))}"


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def pattern_list_matches(text: str, patterns: str) -> bool:
    """Whether `text` matches patterns with commas between: one at least, and none with a ! in front."""
    found = False
    for pattern in patterns.split(","):
        if pattern.startswith("!"):
            if _compiled(pattern[1:]).fullmatch(text):
                return False
        elif _compiled(pattern).fullmatch(text):
            found = True
    return found


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # * and ? are all that known_hosts knows.
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.compile("".join(parts), re.DOTALL)
