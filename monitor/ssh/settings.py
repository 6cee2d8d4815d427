"""Where and how to connect to a server, after all questions about it are answered."""

import enum
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from pylon.monitor.ssh.server_name import ServerName

LEAST_RSA_BITS = 1024


class HostKeyPolicy(enum.Enum):
    """What to do about a host key that is not known. A changed one is always refused.

    strict      refuse
    accept-new  note it in the first UserKnownHostsFile and go on
    """

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"


@dataclass(frozen=True, slots=True)
class Algorithms:
    """The names that may be used, in each list; None: all that are supported here.

    Attributes:
        key_exchanges, ciphers, macs: for the connection.
        host_keys: of the server's key.
        logins: of our keys.
    """

    key_exchanges: tuple[str, ...] | None = None
    ciphers: tuple[str, ...] | None = None
    macs: tuple[str, ...] | None = None
    host_keys: tuple[str, ...] | None = None
    logins: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SSHSettings:
    """Where and how to connect. Can be pickled, and holds nothing secret but a ProxyCommand's text.

    Attributes:
        name: as the user wrote it.
        host, port, user: resolved.
        hops: servers to go through first, in order; each with its own settings and no hops of its own.
        proxy_command: command in the place of a TCP connection to `host`; of the first hop if there are any.
        identity_files: private keys, or public ones whose private half an agent holds.
        certificate_files: certificates of keys, in files of other names than those of the keys.
        identities_only: offer no other key of the agent.
        agent: the agent's socket; None: no agent.
        connect_timeout_s: for the TCP connection to one address; None: as long as there is time.
        address_family: the only kind of address to connect to; None: any.
        bind_address: address of this machine to connect from; None: any.
        algorithms: see Algorithms.
        least_rsa_bits: shorter RSA keys are refused, and not offered.
        host_key_policy: what ssh_config decides about unknown keys; None: the caller decides.
        host_key_name: under which name the host's key is looked up.
        host_key_fallback_name: under which a matching key counts too; None: under none.
        known_hosts_files: all files with known keys, the user's first.
        revoked_host_keys: file with keys that are refused; if it cannot be read, all are. None: no file.
        noted_in: the file that a new key is noted in; None: none.
        hash_names: write names into it so that others cannot read them.
    """

    name: str
    host: str
    port: int
    user: str
    hops: tuple["SSHSettings", ...] = ()
    proxy_command: str | None = field(default=None, repr=False)
    identity_files: tuple[Path, ...] = ()
    certificate_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: Path | None = None
    connect_timeout_s: float | None = None
    address_family: int | None = None
    bind_address: str | None = None
    algorithms: Algorithms = field(default=Algorithms(), repr=False)
    least_rsa_bits: int = LEAST_RSA_BITS
    host_key_policy: HostKeyPolicy | None = None
    host_key_name: str = ""
    host_key_fallback_name: str | None = None
    known_hosts_files: tuple[Path, ...] = ()
    revoked_host_keys: Path | None = None
    noted_in: Path | None = None
    hash_names: bool = False

    @property
    def address(self) -> str:
        """The same for two names of one server as far as ssh_config shows: the way there, host and port.

        Two names in the DNS can still be one machine: then FarChannel.host_key is the same.
        """
        way = [hop.address for hop in self.hops]
        if self.proxy_command is not None:
            # Not the command itself: it may hold what no log should.
            way.append(
                f"ProxyCommand {sha256(self.proxy_command.encode('utf-8', 'replace')).hexdigest()[:8]}"
            )
        return " > ".join([*way, str(ServerName(self.host, None, self.port))])
