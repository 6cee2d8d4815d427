"""Servers that do what sshd never does, in threads of the test."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import paramiko

Script = Callable[[socket.socket, threading.Event], None]


@contextlib.contextmanager
def serving(script: Script) -> Iterator[int]:
    """Run `script` for each connection in a thread; gives the port. It ends when its event is set."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    threads: list[threading.Thread] = []

    def one(end: socket.socket) -> None:
        with end, contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            script(end, stop)

    def accept() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                end, _ = listener.accept()
                threads.append(threading.Thread(target=one, args=(end,), daemon=True))
                threads[-1].start()

    acceptor = threading.Thread(target=accept, daemon=True)
    acceptor.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stop.set()
        acceptor.join(5)
        listener.close()
        for thread in threads:
            thread.join(5)


def silent(end: socket.socket, stop: threading.Event) -> None:
    """Takes the connection and says nothing."""
    stop.wait(60)


def drips(end: socket.socket, stop: threading.Event) -> None:
    """Sends its banner at one byte a second."""
    for byte in b"SSH-2.0-OpenSSH_9.9 with a long and slow comment":
        end.sendall(bytes([byte]))
        if stop.wait(1):
            return


def chats(end: socket.socket, stop: threading.Event) -> None:
    """Sends a line before its banner every half second."""
    while not stop.wait(0.5):
        end.sendall(b"just a moment\r\n")


def floods_banner(end: socket.socket, stop: threading.Event) -> None:
    """Sends a banner without an end."""
    while not stop.is_set():
        end.sendall(b"x" * 65536)


def stalls_in_kex(end: socket.socket, stop: threading.Event) -> None:
    """Sends its banner and then nothing."""
    end.sendall(b"SSH-2.0-OpenSSH_9.9\r\n")
    stop.wait(60)


def floods_in_kex(end: socket.socket, stop: threading.Event) -> None:
    """Announces a packet of 4 GB, and sends it."""
    end.sendall(b"SSH-2.0-OpenSSH_9.9\r\n\xff\xff\xff\xf4\x04")
    while not stop.is_set():
        end.sendall(b"\0" * 65536)


def speaks_http(end: socket.socket, stop: threading.Event) -> None:
    """Is no SSH server."""
    end.recv(100)
    end.sendall(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n" + b"<html>\r\n" * 200)


def speaks_ssh1(end: socket.socket, stop: threading.Event) -> None:
    """Is a very old one."""
    end.sendall(b"SSH-1.5-old\r\n")
    stop.wait(60)


def refuses_at_once(end: socket.socket, stop: threading.Event) -> None:
    """Hangs up, as sshd does beyond MaxStartups."""


@dataclass
class Behaviour(paramiko.ServerInterface):
    """What a scripted server that speaks SSH does.

    Attributes:
        login: "accept", "refuse", "stall", "partial", "password only" or "hang up".
        channel: "accept", "refuse" or "stall"
        methods: of login, as it lists them to those whom it refuses.
        run: "echo", "refuse", "stall", "flood", "flood without window", "talk on stderr" or "exit".
        logins: attempts so far.
        features: what was asked for: "pty", "agent", "env", ...
    """

    login: str = "accept"
    methods: str = "publickey,password"
    channel: str = "accept"
    run: str = "echo"
    logins: int = 0
    connections: int = 0
    features: list[str] = field(default_factory=list)
    host_key: paramiko.PKey = field(default_factory=paramiko.ECDSAKey.generate)
    stop: threading.Event = field(default_factory=threading.Event)
    transport: paramiko.Transport | None = None

    def script(self, end: socket.socket, stop: threading.Event) -> None:
        """For `serving`."""
        self.stop = stop
        self.connections += 1
        transport = self.transport = paramiko.Transport(end)
        transport.add_server_key(self.host_key)
        try:
            transport.start_server(server=self, event=threading.Event())
            while transport.is_active() and not stop.wait(0.02):
                pass
        finally:
            transport.close()
            transport.join(5)

    def get_allowed_auths(self, username: str) -> str:
        return "password" if self.login == "password only" else self.methods

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        self.logins += 1
        if self.login == "stall":
            self.stop.wait(60)
        if self.login == "hang up":
            assert self.transport is not None
            self.transport.close()
        if self.login == "partial":
            return paramiko.AUTH_PARTIALLY_SUCCESSFUL
        return paramiko.AUTH_SUCCESSFUL if self.login == "accept" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, number: int) -> int:
        if self.channel == "stall":
            self.stop.wait(60)
        if self.channel == "refuse":
            return paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        if self.run == "stall":
            self.stop.wait(60)
        if self.run == "refuse":
            return False
        threading.Thread(target=self._serve, args=(channel,), daemon=True).start()
        return True

    def check_channel_pty_request(self, *_: object) -> bool:
        self.features.append("pty")
        return False

    def check_channel_forward_agent_request(self, channel: paramiko.Channel) -> bool:
        self.features.append("agent")
        return False

    def check_channel_env_request(self, *_: object) -> bool:
        self.features.append("env")
        return False

    def _serve(self, channel: paramiko.Channel) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            channel.settimeout(0.1)
            # The answer to the request goes first, as with any server.
            time.sleep(0.05)
            if self.run == "talk on stderr":
                channel.sendall(b"out")
                channel.sendall_stderr(b"\x1b[31mnvidia-smi: not found\n" * 2000)
            if self.run == "exit":
                channel.sendall_stderr(b"no such shell\n")
                channel.send_exit_status(127)
                channel.close()
            while not self.stop.is_set() and not channel.closed:
                if self.run == "flood without window":
                    channel.out_window_size = 1 << 30
                if self.run.startswith("flood"):
                    with contextlib.suppress(TimeoutError):
                        channel.send(b"f" * 30000)
                    continue
                try:
                    data = channel.recv(65536)
                except TimeoutError:
                    continue
                if not data:
                    return
                channel.sendall(data)
