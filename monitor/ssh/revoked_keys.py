"""RevokedHostKeys: host keys that are refused whatever else knows them."""

import base64
import binascii
import os
import shutil
import subprocess
from pathlib import Path

from pylon.monitor.ssh.errors import HostKeyChangedError, HostKeyUnknownError
from pylon.monitor.ssh.known_hosts import HostKey
from pylon.monitor.ssh.texts import printable

_KRL = b"SSHKRL\n\0"
_LARGEST_FILE_BYTES = 64 * 2**20
_TIMEOUT_S = 10.0
# ssh-keygen wants the name of a file; a temporary one takes a folder that can be written.
_STANDARD_INPUT = "/proc/self/fd/0"


def refuse_revoked(path: Path, key: HostKey, server: str) -> None:
    """Refuse `key` if `path` lists it: public keys, one a line, or a key revocation list of ssh-keygen.

    Raises:
        HostKeyChangedError: it does.
        HostKeyUnknownError: that cannot be found out; ssh refuses every key then.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE_BYTES)
    except OSError as error:
        raise HostKeyUnknownError(
            f"{server}: RevokedHostKeys: {str(path)!r} cannot be read ({error}); every key is refused then,"
            " as ssh does it."
        ) from error
    if content.startswith(_KRL):
        _ask_ssh_keygen(path, key, server)
    elif any(_is_line_of(line, key) for line in content.splitlines()):
        raise HostKeyChangedError(f"{server}: its host key {key} is revoked: {path}.")


def _is_line_of(line: bytes, key: HostKey) -> bool:
    for word in line.split():
        try:
            if base64.b64decode(word, validate=True) == key.blob:
                return True
        except (binascii.Error, ValueError):
            continue
    return False


def _ask_ssh_keygen(path: Path, key: HostKey, server: str) -> None:
    program = shutil.which("ssh-keygen")
    if program is None:
        raise HostKeyUnknownError(
            f"{server}: RevokedHostKeys: {str(path)!r} is a key revocation list, which takes the ssh-keygen"
            " program to read. Install OpenSSH's client."
        )
    try:
        done = subprocess.run(
            [program, "-Q", "-f", str(path), _STANDARD_INPUT],
            input=f"{key.kind} {base64.b64encode(key.blob).decode()}\n".encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostKeyUnknownError(
            f"{server}: RevokedHostKeys: ssh-keygen cannot read {str(path)!r} ({error})."
        ) from error
    if done.returncode == 0:
        return
    words = printable(done.stdout + done.stderr).removeprefix(_STANDARD_INPUT).lstrip(": ")
    if b"REVOKED" in done.stdout:
        raise HostKeyChangedError(f"{server}: its host key {key} is revoked: {path}.")
    raise HostKeyUnknownError(f"{server}: RevokedHostKeys: {str(path)!r} cannot be checked: {words}.")
