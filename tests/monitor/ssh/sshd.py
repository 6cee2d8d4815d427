"""A real OpenSSH server on loopback, for tests: its own keys, its own users' keys, one process tree.

    with Sshd(tmp_path, addresses=many_addresses(20), options={"MaxStartups": "2:100:2"}) as sshd:
        config = sshd.client_config(hosts={"gpu1": "127.0.0.1"})

`require_sshd` skips a test where there is no sshd, or fails it where PYLON_REQUIRE_SSHD=1 is set.
"""

import contextlib
import functools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Self

import psutil
import pytest

_SSHD_PLACES = ("/usr/sbin", "/usr/local/sbin", "/usr/lib/ssh", "/usr/bin")
_PRIVILEGE_SEPARATION = Path("/run/sshd")
# Compiled into sshd. On 0.0.0.0 it would be open to the network.
_MOST_ADDRESSES_OF_ONE = 16
_DEFAULTS = {
    "StrictModes": "no",
    "UsePAM": "no",
    "PermitRootLogin": "prohibit-password",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "LogLevel": "VERBOSE",
    "MaxStartups": "1000",
    "MaxSessions": "100",
    "UseDNS": "no",
    "PrintMotd": "no",
    # Bash takes itself for no login of sshd's then and leaves ~/.bashrc alone, which is not the tests'
    # and may take a minute (pyenv's does, when a session was killed while it held its lock).
    "SetEnv": "SHLVL=9",
}


def find_sshd() -> str | None:
    """Where sshd is: it insists on being started by its whole path."""
    return shutil.which("sshd", path=os.pathsep.join((*_SSHD_PLACES, os.environ.get("PATH", ""))))


def require_sshd() -> str:
    """The path of sshd; without one the test is skipped, or fails where PYLON_REQUIRE_SSHD=1 is set."""
    found = find_sshd()
    if found is None or shutil.which("ssh-keygen") is None:
        reason = "needs OpenSSH's sshd and ssh-keygen (Debian: apt-get install openssh-server)"
        if os.environ.get("PYLON_REQUIRE_SSHD") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def many_addresses(count: int, first: int = 1) -> tuple[str, ...]:
    """Addresses of this machine: 127.0.0.1, 127.0.0.2, ..., one per server to play."""
    numbers = range(first, first + count)
    return tuple(f"127.0.{number // 250}.{number % 250}" for number in numbers)


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A new key pair; `path` is the private half, `path`.pub the public one."""
    for stale in (path, Path(f"{path}.pub")):
        stale.unlink(missing_ok=True)
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", path],
        check=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )
    return path


def public_line(key: Path) -> str:
    """Kind and public half of a key, as known_hosts and authorized_keys write them."""
    return " ".join(Path(f"{key}.pub").read_text().split()[:2])


@functools.cache
def openssh_version() -> tuple[int, int]:
    """Of the `ssh` that is installed, which is the server's too; (0, 0) without one."""
    try:
        printed = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    except FileNotFoundError:
        return 0, 0
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class Sshd:
    """One sshd, or several with the same keys where one cannot listen on all addresses.

    Args:
        root: an empty folder of the test; its path must not be long.
        addresses: where it listens, all with one port.
        options: of sshd_config, in the place of ours.
        host_key_kinds: one key of each is made.
        authorized: private keys whose public halves may log in; () for none; None: `client_key`, made here.
        port: None: a free one.

    Attributes:
        port, addresses: where it listens.
        host_keys: private host keys by kind.
        client_key: a private key that may log in, if `authorized` was None.
        user: the user to log in as: the one who runs the tests.
    """

    def __init__(
        self,
        root: Path,
        *,
        addresses: Iterable[str] = ("127.0.0.1",),
        options: Mapping[str, str] | None = None,
        host_key_kinds: Iterable[str] = ("ed25519",),
        authorized: Iterable[Path] | None = None,
        port: int | None = None,
    ) -> None:
        self._sshd = require_sshd()
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.addresses = tuple(addresses)
        self.port = port or free_port(self.addresses[0])
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.client_key = root / "client_key"
        if authorized is None:
            authorized = [make_key(self.client_key)]
        self.host_keys = {kind: make_key(root / f"host_{kind}", kind) for kind in host_key_kinds}
        self._authorized_keys = root / "authorized_keys"
        self._authorized_keys.write_text("".join(f"{public_line(one)}\n" for one in authorized))
        self._options = dict(options or {})
        if openssh_version() >= (9, 8):
            # For some time after failed logins it would hang up on every client of this machine.
            self._options.setdefault("PerSourcePenalties", "no")
        self._log = root / "sshd.log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> Self:
        """Start it and wait until it listens; also again after `stop`."""
        if os.getuid() == 0:
            _PRIVILEGE_SEPARATION.mkdir(mode=0o755, parents=True, exist_ok=True)
        for number in range(0, len(self.addresses), _MOST_ADDRESSES_OF_ONE):
            addresses = self.addresses[number : number + _MOST_ADDRESSES_OF_ONE]
            config = self.root / f"sshd_config_{number}"
            config.write_text(self._config(addresses))
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [self._sshd, "-D", "-e", "-f", config], stderr=log, stdin=subprocess.DEVNULL
                )
            self._processes.append(process)
        until = time.monotonic() + 20
        waiting = list(self.addresses)
        while waiting:
            if _connects(waiting[-1], self.port):
                waiting.pop()
            elif any(one.poll() is not None for one in self._processes) or time.monotonic() > until:
                log_text = self.log()
                self.stop()
                raise RuntimeError(f"sshd does not start: {log_text}")
            else:
                time.sleep(0.02)
        return self

    @property
    def pids(self) -> list[int]:
        """Of the processes that listen."""
        return [one.pid for one in self._processes]

    def sessions(self) -> list[psutil.Process]:
        """The processes of its connections, and all that runs in them."""
        found = []
        for pid in self.pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                found += psutil.Process(pid).children(recursive=True)
        return found

    def log(self) -> str:
        """All that it logged, at level VERBOSE."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def freeze(self) -> None:
        """SIGSTOP: it and its connections still take TCP connections and bytes, and answer nothing."""
        for one in [*map(psutil.Process, self.pids), *self.sessions()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        for one in [*map(psutil.Process, self.pids), *self.sessions()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)

    def cut(self) -> None:
        """Kill all its connections; it goes on to listen."""
        for one in self.sessions():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    def change_host_keys(self) -> None:
        """New keys of the same kinds, and a new start: as if the server was set up anew."""
        self.stop()
        for kind, path in self.host_keys.items():
            make_key(path, kind)
        self.start()

    def stop(self) -> None:
        """End it and its connections."""
        self.thaw()
        ended = [*map(psutil.Process, self.pids), *self.sessions()]
        for one in ended:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        for process in self._processes:
            process.wait(10)
        psutil.wait_procs(ended, timeout=5)
        self._processes = []

    def known_hosts(self, names: Iterable[str] | None = None, kinds: Iterable[str] | None = None) -> str:
        """Lines of known_hosts with its keys, for each of `names`, or for each of its addresses."""
        if names is None:
            names = [f"[{address}]:{self.port}" for address in self.addresses]
        chosen = [self.host_keys[kind] for kind in (kinds or self.host_keys)]
        return "".join(f"{name} {public_line(key)}\n" for name in names for key in chosen)

    def client_config(
        self,
        path: Path | None = None,
        *,
        hosts: Mapping[str, str] | None = None,
        extra: str = "",
        known_hosts: str | None = None,
    ) -> Path:
        """An ssh_config that leads to it with `client_key`, and knows its keys.

        Args:
            path: of the file; None: in the server's folder.
            hosts: an alias for an address of it, each; every other name is an address.
            extra: lines that come first.
            known_hosts: content of UserKnownHostsFile; None: its keys.
        """
        path = path or self.root / "ssh_config"
        known = path.with_name(f"{path.name}_known_hosts")
        known.write_text(self.known_hosts() if known_hosts is None else known_hosts)
        aliases = "".join(f"Host {alias}\n  HostName {address}\n" for alias, address in (hosts or {}).items())
        path.write_text(
            f"{extra}\n{aliases}Host *\n  Port {self.port}\n  User {self.user}\n"
            f"  IdentityFile {self.client_key}\n  IdentitiesOnly yes\n  IdentityAgent none\n"
            f"  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n"
        )
        return path

    def __enter__(self) -> Self:
        """Started."""
        return self.start()

    def __exit__(self, *_: object) -> None:
        """Stopped."""
        self.stop()

    def _config(self, addresses: Iterable[str]) -> str:
        lines = [
            # ListenAddress takes the port that was named before it.
            f"Port {self.port}",
            *(f"ListenAddress {address}" for address in addresses),
            *(f"HostKey {path}" for path in self.host_keys.values()),
            f"AuthorizedKeysFile {self._authorized_keys}",
            "PidFile none",
            *(f"{key} {value}" for key, value in {**_DEFAULTS, **self._options}.items()),
        ]
        return "\n".join([*lines, ""])


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _connects(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True
