"""Which keys of ours are offered to a server, in which order: as `ssh` does it, but asking nobody."""

import base64
import binascii
import os
import stat
import struct
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from pylon.monitor.ssh.agent import Agent, AgentError, AgentKey
from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.known_hosts import kind_of
from pylon.monitor.ssh.settings import SSHSettings

# sshd hangs up after six refused ones unless it is told otherwise.
MOST_OFFERED = 6

_LARGEST_FILE_BYTES = 64 * 1024
_NEW_FORMAT = b"openssh-key-v1\0"


@dataclass
class Identities:
    """Keys to offer, in order.

    Attributes:
        keys: paramiko's PKeys.
        notes: why others are not among them, for the error's text.
    """

    keys: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def identities(settings: SSHSettings, deadline: Deadline, cleanup: ExitStack) -> Identities:
    """The keys for a server: of those named, first the agent's; then the agent's others; then from files.

    Args:
        settings: of the server.
        deadline: for the agent.
        cleanup: closes the agent, when the keys are not needed any more.
    """
    found = Identities()
    held = _held(settings, deadline, cleanup, found.notes)
    files = settings.identity_files
    named = [blob for path in files if (blob := public_half(path)) is not None]
    for blob in [*named, *(() if settings.identities_only else held)]:
        if blob in held:
            found.keys.append(held.pop(blob))
    for path in files:
        if public_half(path) not in [key.asbytes() for key in found.keys]:
            _load(path, found)
    if len(found.keys) > MOST_OFFERED:
        left_out = len(found.keys) - MOST_OFFERED
        found.notes.append(f"{left_out} more keys were not offered: name the right one with IdentityFile")
    del found.keys[MOST_OFFERED:]
    return found


def public_half(path: Path) -> bytes | None:
    """The public half of the key in a file, which is no secret even where a passphrase protects the file."""
    for one in (path, Path(f"{path}.pub")):
        blob = _public_half_in(one)
        if blob is not None:
            return blob
    return None


def _held(
    settings: SSHSettings, deadline: Deadline, cleanup: ExitStack, notes: list[str]
) -> dict[bytes, AgentKey]:
    if settings.agent is None:
        return {}
    try:
        agent = cleanup.enter_context(Agent(settings.agent, deadline))
        blobs = agent.blobs()
    except AgentError as error:
        notes.append(str(error))
        return {}
    # A security key waits for somebody to touch it.
    return {blob: AgentKey(agent, blob) for blob in blobs if not (kind_of(blob) or "sk-").startswith("sk-")}


def _load(path: Path, found: Identities) -> None:
    """Add the private key in `path`, or a note why not."""
    try:
        if not path.exists():
            return
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            found.notes.append(f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):o})")
            return
        if b"PRIVATE KEY" not in path.read_bytes()[:_LARGEST_FILE_BYTES]:
            found.notes.append(f"{path} has no private key, and no agent holds it")
            return
        found.keys.append(paramiko.PKey.from_path(path))
    except (paramiko.PasswordRequiredException, TypeError):
        # TypeError is what the cryptography library says to a key with a passphrase.
        found.notes.append(f"{path} is protected by a passphrase and no agent holds it (ssh-add {path})")
    except (paramiko.SSHException, paramiko.pkey.UnknownKeyType, OSError, ValueError) as error:
        found.notes.append(f"{path} cannot be used ({type(error).__name__})")


def _public_half_in(path: Path) -> bytes | None:
    try:
        if not path.is_file():
            return None
        content = path.read_bytes()[:_LARGEST_FILE_BYTES]
    except OSError:
        return None
    try:
        if content.startswith(b"-----BEGIN OPENSSH PRIVATE KEY-----"):
            return _from_new_format(base64.b64decode(b"".join(content.split(b"\n")[1:-2]), validate=False))
        fields = content.split(None, 2)
        if len(fields) < 2 or content.startswith(b"-"):
            return None
        blob = base64.b64decode(fields[1], validate=True)
    except (binascii.Error, ValueError, struct.error):
        return None
    return blob if kind_of(blob) == fields[0].decode("ascii", "replace") else None


def _from_new_format(data: bytes) -> bytes | None:
    """Magic; cipher, key derivation and its options; a count; the public key; what follows is secret."""
    if not data.startswith(_NEW_FORMAT):
        return None
    at = len(_NEW_FORMAT)
    for _ in range(3):
        (length,) = struct.unpack(">I", data[at : at + 4])
        at += 4 + length
    (count, length) = struct.unpack(">II", data[at : at + 8])
    blob = data[at + 8 : at + 8 + length]
    return blob if count == 1 and kind_of(blob) is not None else None
