"""A cheap SSH server that plays hundreds of machines: it gives one recorded answer again and again.

    python -m benchmarks.fleet_scripted KEY ANSWERS
    python -m benchmarks.fleet_scripted KEY --flood     sends garbage as fast as it can in place of answers

It prints its port, and ends with its standard input.
"""

import argparse
import contextlib
import re
import socket
import sys
import threading
import time
from pathlib import Path

import paramiko
from paramiko.common import MSG_CHANNEL_DATA

from pylon.monitor.ssh.deadline import Deadline
from pylon.monitor.ssh.wire import SocketWire

_REQUEST = re.compile(rb"^T ([0-9]+) (\S+)", re.MULTILINE)
_FIRST_LINE = re.compile(rb"%PYLON ([0-9]+) [0-9]+ (.*)\n")
_CLOCK = re.compile(rb"[0-9]+\.[0-9]+")
_STACK_BYTES = 256 * 1024
_FOR_EVER_S = 1e6


class Recorded:
    """Answers with the recorded frame, under the number that was asked for and with the clock of now."""

    def __init__(self, slow: bytes, fast: bytes) -> None:
        self._frames = {True: slow, False: fast}

    def answer(self, sequence: bytes, tiers: bytes) -> bytes:
        """To one request."""
        frame = self._frames[b"slow" in tiers]
        head, body = frame.split(b"\n", 1)
        words = head.split(b" ")
        words[2] = sequence
        line = _CLOCK.sub(b"%.2f" % time.clock_gettime(time.CLOCK_BOOTTIME), b" ".join(words), count=1)
        return line + b"\n" + body[: body.rindex(b"%END ")] + b"%END " + sequence + b"\n"


class _Login(paramiko.ServerInterface):
    def __init__(self, *, flood: bool) -> None:
        self._flood = flood

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        """Keys alone."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:  # noqa: ARG002
        """Any."""
        return paramiko.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        """Any."""
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:  # noqa: ARG002
        """Any."""
        if self._flood:
            threading.Thread(target=_send_for_ever, args=(channel,), daemon=True).start()
        return True


def _send_for_ever(channel: paramiko.Channel) -> None:
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        while True:
            channel.sendall(b"f" * 30_000)


def _transport(recorded: Recorded) -> type[paramiko.Transport]:
    """A transport that answers in its own thread: one thread per machine, not two."""

    def fed(channel: paramiko.Channel, message: paramiko.Message) -> None:
        data = message.get_binary()
        for sequence, tiers in _REQUEST.findall(data[-256:]):
            channel.sendall(recorded.answer(sequence, tiers))

    class Answering(paramiko.Transport):
        _channel_handler_table = {  # noqa: RUF012 - paramiko's name
            **paramiko.Transport._channel_handler_table,
            MSG_CHANNEL_DATA: fed,
        }

    return Answering


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("key", type=Path)
    parser.add_argument("answers", type=Path, nargs="?")
    parser.add_argument("--flood", action="store_true")
    options = parser.parse_args()
    threading.stack_size(_STACK_BYTES)
    kind: type[paramiko.Transport] = paramiko.Transport
    if options.answers is not None:
        slow, fast = options.answers.with_suffix(".slow"), options.answers.with_suffix(".fast")
        kind = _transport(Recorded(slow.read_bytes(), fast.read_bytes()))
    host_key = paramiko.Ed25519Key.from_private_key_file(str(options.key))
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    kept = []

    def accept() -> None:
        while True:
            end, _ = listener.accept()
            wire = SocketWire("client", end, Deadline(_FOR_EVER_S))
            wire.opened()
            transport = kind(wire)
            transport.add_server_key(host_key)
            transport.start_server(event=threading.Event(), server=_Login(flood=options.flood))
            kept.append(transport)

    threading.Thread(target=accept, daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
