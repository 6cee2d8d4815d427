"""Keys in files: OpenSSH's own format, PKCS#1 and SEC1 ("BEGIN RSA/EC PRIVATE KEY") and PKCS#8."""

import base64
import binascii
import io
import os
import shlex
import stat
import struct
from pathlib import Path
from typing import Any

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from pylon.monitor.ssh.public_keys import kind_of

_LARGEST_FILE_BYTES = 64 * 1024
_NEW_FORMAT = b"openssh-key-v1\0"
_CLASSES = (
    (RSAPrivateKey, paramiko.RSAKey),
    (EllipticCurvePrivateKey, paramiko.ECDSAKey),
    (Ed25519PrivateKey, paramiko.Ed25519Key),
)


class KeyFileError(Exception):
    """A file has a key that cannot be used; the text is why, and what to do."""


def load_private(path: Path) -> Any | None:  # noqa: ANN401 - paramiko has no types
    """The private key in `path`, paramiko's PKey; None: there is no such file.

    Raises:
        KeyFileError: it cannot be used.
    """
    try:
        if not path.exists() or not path.is_file():
            return None
        status = path.stat()
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            raise KeyFileError(f"{path} can be read by others (mode {stat.S_IMODE(status.st_mode):o})")
        content = path.read_bytes()[:_LARGEST_FILE_BYTES]
    except OSError as error:
        raise KeyFileError(f"{path} cannot be read ({error.strerror})") from error
    if b"PRIVATE KEY" not in content:
        raise KeyFileError(f"{path} has no private key, and no agent holds it")
    try:
        return _loaded(content)
    except (paramiko.PasswordRequiredException, TypeError) as error:
        # TypeError is how the cryptography library refuses a key with a passphrase.
        name = shlex.quote(str(path))
        raise KeyFileError(
            f"{path} is protected by a passphrase and no agent holds it (ssh-add {name}; ssh-keygen -p -f"
            f" {name} removes the passphrase)"
        ) from error
    except (paramiko.SSHException, UnsupportedAlgorithm, OSError, ValueError) as error:
        raise KeyFileError(
            f"{path} cannot be used ({type(error).__name__}), expected an RSA, ECDSA or Ed25519 key in a"
            f" format that ssh-keygen writes (ssh-keygen -p -f {shlex.quote(str(path))} writes it again)"
        ) from error


def public_half(path: Path) -> bytes | None:
    """The public half of the key in a file, which is no secret even if a passphrase protects the file."""
    for one in (path, Path(f"{path}.pub")):
        blob = _public_half_in(one)
        if blob is not None:
            return blob
    return None


def _loaded(content: bytes) -> Any:  # noqa: ANN401 - paramiko has no types
    try:
        key: object = serialization.load_ssh_private_key(content, None)
    except ValueError:
        key = serialization.load_pem_private_key(content, None)
    for kind, paramikos in _CLASSES:
        if isinstance(key, kind):
            # paramiko reads no PKCS#8: it gets its own format, in memory.
            text = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.OpenSSH,
                serialization.NoEncryption(),
            )
            return paramikos.from_private_key(io.StringIO(text.decode("ascii")))
    raise UnsupportedAlgorithm(type(key).__name__)


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
