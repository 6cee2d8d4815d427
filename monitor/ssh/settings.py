"""What a server's name comes to: where to connect, as whom, with which keys and through whom."""

import enum
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.server_name import ServerName, is_host, is_port, is_user
from pylon.monitor.ssh.ssh_config import SSHConfig
from pylon.monitor.ssh.ssh_config_lookup import Options
from pylon.monitor.ssh.tokens import Tokens

SSH_PORT = 22

_DEEPEST_JUMP = 8
_DEFAULT_IDENTITIES = ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519")
_DEFAULT_USER_FILES = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_DEFAULT_GLOBAL_FILES = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")
_TIME = re.compile(r"(?:[0-9]+[smhdwSMHDW]?)+")
_TIME_PART = re.compile(r"([0-9]+)([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class HostKeyPolicy(enum.Enum):
    """What to do about a host key that is not known. A changed one is always refused.

    strict      refuse
    accept-new  note it in the first UserKnownHostsFile and go on
    """

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"


@dataclass(frozen=True, slots=True)
class SSHSettings:
    """Where and how to connect. Can be pickled, and holds nothing secret but a ProxyCommand's text.

    Attributes:
        name: as the user wrote it.
        host, port, user: resolved.
        hops: servers to go through first, in order; each with its own settings and no hops of its own.
        proxy_command: command in the place of a TCP connection to `host`; of the first hop if there are any.
        identity_files: private keys, or public ones whose private half an agent holds.
        identities_only: offer no other key of the agent.
        agent: the agent's socket; None: no agent.
        connect_timeout_s: for the TCP connection to one address; None: as long as there is time.
        host_key_name: under which name the host's key is looked up.
        host_key_fallback_name: under which a matching key counts too; None: under none.
        known_hosts_files: all files with known keys, the user's first.
        noted_in: the file that a new key is noted in; None: none.
        hash_names: write names into it so that nobody can read them.
    """

    name: str
    host: str
    port: int
    user: str
    hops: tuple["SSHSettings", ...] = ()
    proxy_command: str | None = field(default=None, repr=False)
    identity_files: tuple[Path, ...] = ()
    identities_only: bool = False
    agent: Path | None = None
    connect_timeout_s: float | None = None
    host_key_name: str = ""
    host_key_fallback_name: str | None = None
    known_hosts_files: tuple[Path, ...] = ()
    noted_in: Path | None = None
    hash_names: bool = False

    @property
    def address(self) -> str:
        """The same for two names of one server as far as ssh_config tells: the way there, host and port.

        Two names in the DNS can still be one machine: then FarChannel.host_key is the same.
        """
        way = [hop.address for hop in self.hops]
        if self.proxy_command is not None:
            # Not the command itself: it may hold what no log should.
            way.append(
                f"ProxyCommand {sha256(self.proxy_command.encode('utf-8', 'replace')).hexdigest()[:8]}"
            )
        return " > ".join([*way, str(ServerName(self.host, None, self.port))])


def resolve(
    name: ServerName,
    config: SSHConfig | None = None,
    environment: Mapping[str, str] | None = None,
) -> SSHSettings:
    """What ssh_config says about `name`.

    Args:
        name: not a local one.
        config: None: the user's and the system's, read now. Read it once for many servers:
            `SSHConfig.read()`.
        environment: variables; None: this process's.

    Raises:
        MonitorSettingError: the files cannot be read, or say what is wrong or not supported.
    """
    environment = os.environ if environment is None else environment
    return _resolve(name, config or SSHConfig.read(), environment, ())


def _resolve(
    name: ServerName, config: SSHConfig, environment: Mapping[str, str], through: tuple[str, ...]
) -> SSHSettings:
    options = Options(name, config)
    host = options.host.lower()
    user = options.first("user") or config.user
    port_text = options.first("port") or str(SSH_PORT)
    if not is_host(host):
        raise MonitorSettingError(f"HostName of {name}: {host!r}, expected a host name or an address.")
    if not is_user(user):
        raise MonitorSettingError(f"User of {name}: {user!r}, expected a user's name.")
    if not is_port(port_text):
        raise MonitorSettingError(f"Port of {name}: {port_text!r}, expected a number from 1 to 65535.")
    port = int(port_text)
    alias = options.first("hostkeyalias")
    jumps = _unless_none(options.first("proxyjump")) or ""
    tokens = Tokens(
        original_host=name.host,
        host=host,
        port=port,
        user=user,
        home=config.home,
        local_user=config.user,
        alias=alias or host,
        jumps=jumps,
        environment=environment,
    )
    files = _known_hosts(options, tokens, "userknownhostsfile", _DEFAULT_USER_FILES)
    command = _unless_none(options.proxy_command)
    settings = SSHSettings(
        name=str(name),
        host=host,
        port=port,
        user=user,
        proxy_command=None if command is None else tokens.command(command, "ProxyCommand"),
        identity_files=_identity_files(options, tokens),
        identities_only=options.yes("identitiesonly"),
        agent=_agent(options, tokens, environment),
        connect_timeout_s=_seconds(options.first("connecttimeout"), "ConnectTimeout"),
        host_key_name=(alias or _with_port(host, port)).lower(),
        host_key_fallback_name=None if alias or port == SSH_PORT else host,
        known_hosts_files=files
        + _known_hosts(options, tokens, "globalknownhostsfile", _DEFAULT_GLOBAL_FILES),
        noted_in=files[0] if files else None,
        hash_names=options.yes("hashknownhosts"),
    )
    if not jumps:
        return settings
    way = tokens.command(jumps, "ProxyJump")
    return replace(settings, hops=_hops(settings, way, config, environment, through))


def _hops(
    settings: SSHSettings,
    jumps: str,
    config: SSHConfig,
    environment: Mapping[str, str],
    through: tuple[str, ...],
) -> tuple[SSHSettings, ...]:
    """The way to a server: to the first of its hops as ssh_config says, from there on as `jumps` says."""
    here = str(ServerName(settings.host, settings.user, settings.port))
    if here in through or len(through) >= _DEEPEST_JUMP:
        raise MonitorSettingError(
            f"ProxyJump of {through[0] if through else here}: {' > '.join((*through, here))} goes in a"
            " circle, expected a way that ends. Set 'ProxyJump none' for the server to jump through."
        )
    found: list[SSHSettings] = []
    for jump in jumps.split(","):
        text = jump.strip().removeprefix("ssh://").rstrip("/")
        hop = _resolve(
            ServerName.parse(text, f"ProxyJump of {settings.name}"), config, environment, (*through, here)
        )
        if found:
            found.append(replace(hop, hops=(), proxy_command=None))
        else:
            found += [*hop.hops, replace(hop, hops=())]
    if len(found) > _DEEPEST_JUMP:
        raise MonitorSettingError(
            f"ProxyJump of {settings.name}: {len(found)} hops, expected {_DEEPEST_JUMP} at most."
        )
    return tuple(found)


def _with_port(host: str, port: int) -> str:
    return host if port == SSH_PORT else f"[{host}]:{port}"


def _unless_none(value: str | None) -> str | None:
    return None if value is None or value.lower() == "none" else value


def _identity_files(options: Options, tokens: Tokens) -> tuple[Path, ...]:
    named = options.identity_files or list(_DEFAULT_IDENTITIES)
    return tuple(tokens.file(one, "IdentityFile") for one in named if one.lower() != "none")


def _known_hosts(
    options: Options, tokens: Tokens, keyword: str, default: tuple[str, ...]
) -> tuple[Path, ...]:
    named = options.values.get(keyword, default)
    if len(named) == 1 and named[0].lower() == "none":
        return ()
    return tuple(tokens.file(one, keyword) for one in named)


def _agent(options: Options, tokens: Tokens, environment: Mapping[str, str]) -> Path | None:
    value = options.first("identityagent") or "SSH_AUTH_SOCK"
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK" or (value.startswith("$") and not value.startswith("${")):
        path = environment.get(value.removeprefix("$"), "")
        return Path(path) if path else None
    return tokens.file(value, "IdentityAgent")


def _seconds(text: str | None, keyword: str) -> float | None:
    """A time as ssh_config writes it: 90, 90s, 1m30s."""
    if text is None or text.lower() == "none":
        return None
    if _TIME.fullmatch(text) is None:
        raise MonitorSettingError(f"{keyword}: {text!r}, expected seconds, or a time like 1m30s, or none.")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _TIME_PART.findall(text.lower()))
    return float(seconds) or None
