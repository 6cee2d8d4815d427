"""Keys that an ssh-agent holds.

paramiko's Agent takes its socket from the environment alone and waits for it without end; and what it
raises while paramiko's thread has it sign ends that thread, and those who wait for it never notice.
"""

import socket
import struct
from contextlib import suppress
from pathlib import Path
from typing import Self

import paramiko
from paramiko.agent import ALGORITHM_FLAG_MAP

from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.public_keys import kind_of

_REQUEST_IDENTITIES = b"\x0b"
_IDENTITIES_ANSWER = 12
_SIGN_REQUEST = b"\x0d"
_SIGN_RESPONSE = 14
_LARGEST_ANSWER_BYTES = 256 * 1024
_LONGEST_LIST_S = 5.0


class AgentError(Exception):
    """The agent is not there, does not answer, or answers what it should not."""


class Agent:
    """A connection to an agent.

    Args:
        path: its socket.
        deadline: for all that is asked of it.

    Raises:
        AgentError: it is not there.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self._path = path
        self._deadline = deadline
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(max(0.01, deadline.left_s))
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise AgentError(f"no agent answers at {path}: {error}") from error

    def blobs(self) -> list[bytes]:
        """The public halves of its keys.

        Raises:
            AgentError: it does not answer in time, or not as it should.
        """
        # Keys in files may do as well: an agent that hangs takes a part of the time only.
        kind, answer = self._ask(_REQUEST_IDENTITIES, min(_LONGEST_LIST_S, self._deadline.left_s / 3))
        if kind != _IDENTITIES_ANSWER:
            raise AgentError(f"the agent at {self._path} shows no keys (answer {kind})")
        reader = _Reader(answer)
        found = []
        for _ in range(reader.number()):
            found.append(reader.string())
            reader.string()  # its comment
        return found

    def sign(self, blob: bytes, data: bytes, flags: int) -> bytes:
        """The signature of `data` by the key with the public half `blob`.

        Raises:
            AgentError: it does not sign.
        """
        request = _SIGN_REQUEST + _string(blob) + _string(data) + struct.pack(">I", flags)
        kind, answer = self._ask(request, self._deadline.left_s)
        if kind != _SIGN_RESPONSE:
            raise AgentError(f"the agent at {self._path} does not sign (answer {kind})")
        return _Reader(answer).string()

    def close(self) -> None:
        """Let go of it."""
        self._socket.close()

    def __enter__(self) -> Self:
        """Connected."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closed."""
        self.close()

    def _ask(self, request: bytes, seconds: float) -> tuple[int, bytes]:
        deadline = Deadline(seconds)
        try:
            self._socket.settimeout(max(0.01, deadline.left_s))
            self._socket.sendall(_string(request))
            (length,) = struct.unpack(">I", self._exactly(4, deadline))
            if not 0 < length <= _LARGEST_ANSWER_BYTES:
                raise AgentError(f"the agent at {self._path} answers with {length} bytes")
            answer = self._exactly(length, deadline)
        except OSError as error:
            raise AgentError(f"the agent at {self._path} does not answer: {error}") from error
        return answer[0], answer[1:]

    def _exactly(self, count: int, deadline: Deadline) -> bytes:
        data = b""
        while len(data) < count:
            self._socket.settimeout(max(0.01, deadline.left_s))
            part = self._socket.recv(count - len(data))
            if not part:
                raise AgentError(f"the agent at {self._path} hung up")
            data += part
        return data


class AgentKey(paramiko.PKey):  # type: ignore[misc]  # paramiko has no types
    """A key that signs in an agent.

    Attributes:
        public_blob: for paramiko: not a key with its certificate in another file.
        failure: why the agent did not sign; None: it did, or was not asked.
    """

    def __init__(self, agent: Agent, blob: bytes) -> None:
        self.public_blob = None
        self.failure: str | None = None
        self._agent = agent
        self._blob = blob

    def get_name(self) -> str:
        """Its kind."""
        return kind_of(self._blob) or ""

    def asbytes(self) -> bytes:
        """Its public half."""
        return self._blob

    def can_sign(self) -> bool:
        """Its private half is there, as far as is known."""
        return True

    @property
    def _fields(self) -> tuple[str, bytes]:
        return self.get_name(), self._blob

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> bytes:
        """Its signature; b"" if the agent does not sign.

        The server refuses that, and the next key is tried.
        """
        try:
            return self._agent.sign(self._blob, data, ALGORITHM_FLAG_MAP.get(algorithm, 0))
        except AgentError as error:
            self.failure = str(error)
            return b""


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


class _Reader:
    """Reads what an agent wrote; raises AgentError if it ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def number(self) -> int:
        with suppress(struct.error):
            (value,) = struct.unpack(">I", self._data[:4])
            self._data = self._data[4:]
            return int(value)
        raise AgentError("the agent's answer is cut off")

    def string(self) -> bytes:
        length = self.number()
        value, self._data = self._data[:length], self._data[length:]
        if len(value) < length:
            raise AgentError("the agent's answer is cut off")
        return value
