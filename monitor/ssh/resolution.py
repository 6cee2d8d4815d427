"""What a server's name comes to: where to connect, as whom, with which keys and through whom."""

import re
import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.expansion import Expansion, own_account
from pylon.monitor.ssh.server_name import ServerName, is_host, is_port, is_user
from pylon.monitor.ssh.settings import LEAST_RSA_BITS, Algorithms, HostKeyPolicy, SSHSettings

SSH_PORT = 22

_DEEPEST_JUMP = 8
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_BRACKETS = re.compile(r"\[([0-9.]+)\]")
_TIME = re.compile(r"(?:[0-9]+[smhdwSMHDW]?)+")
_TIME_PART = re.compile(r"([0-9]+)([smhdw]?)")
_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}

# Gives the configuration of one server.
Asker = Callable[[ServerName], Answer]

# StrictHostKeyChecking, as it is written and as ssh -G prints it. "ask" has no entry: the caller decides.
# With "no" ssh takes changed keys too; we never do.
_POLICIES = {
    "yes": HostKeyPolicy.STRICT,
    "true": HostKeyPolicy.STRICT,
    "accept-new": HostKeyPolicy.ACCEPT_NEW,
    "no": HostKeyPolicy.ACCEPT_NEW,
    "off": HostKeyPolicy.ACCEPT_NEW,
    "false": HostKeyPolicy.ACCEPT_NEW,
}


def resolve(name: ServerName, ask: Asker, environment: Mapping[str, str]) -> SSHSettings:
    """The settings of `name`, and of all hops to it.

    Args:
        name: not a local one.
        ask: gives the configuration of one server.
        environment: variables.

    Raises:
        MonitorSettingError: the configuration is wrong or not supported.
    """
    return _resolve(name, ask, environment, ())


def _resolve(
    name: ServerName, ask: Asker, environment: Mapping[str, str], through: tuple[str, ...]
) -> SSHSettings:
    answer = ask(name)
    host, port, user = _destination(name, answer)
    # "none" is an alias like any other.
    alias = next(iter(answer.all("hostkeyalias")), None)
    jumps = answer.first("proxyjump") or ""
    expansion = Expansion(
        original_host=name.host,
        host=host,
        port=port,
        user=user,
        account=own_account(),
        alias=alias or name.host,
        jumps=jumps,
        environment=environment,
    )
    command = answer.first("proxycommand")
    user_files = _paths(answer, "UserKnownHostsFile", expansion)
    settings = SSHSettings(
        name=str(name),
        host=host,
        port=port,
        user=user,
        proxy_command=None if command is None else expansion.command(command, "ProxyCommand"),
        identity_files=_expanded(answer, "IdentityFile", expansion),
        certificate_files=_expanded(answer, "CertificateFile", expansion),
        identities_only=answer.yes("identitiesonly"),
        agent=_agent(answer, expansion, environment),
        connect_timeout_s=_seconds(answer.first("connecttimeout"), "ConnectTimeout"),
        address_family=_FAMILIES.get((answer.first("addressfamily") or "any").lower()),
        bind_address=answer.first("bindaddress"),
        algorithms=_algorithms(answer),
        least_rsa_bits=_number(answer, "RequiredRSASize", LEAST_RSA_BITS),
        host_key_policy=_POLICIES.get((answer.first("stricthostkeychecking") or "ask").lower()),
        host_key_name=(alias or _with_port(host, port)).lower(),
        host_key_fallback_name=None if alias or port == SSH_PORT else host,
        known_hosts_files=user_files + _paths(answer, "GlobalKnownHostsFile", expansion),
        revoked_host_keys=_revoked(answer, expansion),
        noted_in=user_files[0] if user_files else None,
        hash_names=answer.yes("hashknownhosts"),
    )
    if not jumps:
        return settings
    way = expansion.command(jumps, "ProxyJump")
    return replace(settings, hops=_hops(settings, way, ask, environment, through))


def _destination(name: ServerName, answer: Answer) -> tuple[str, int, str]:
    host = (answer.first("hostname") or name.host).lower()
    port = answer.first("port") or str(SSH_PORT)
    # "none" is a user like any other.
    user = next(iter(answer.all("user")), "")
    if not is_host(host):
        raise MonitorSettingError(f"HostName of {name}: {host!r}, expected a host name or an address.")
    if not is_user(user):
        raise MonitorSettingError(f"User of {name}: {user!r}, expected a user's name.")
    if not is_port(port):
        raise MonitorSettingError(f"Port of {name}: {port!r}, expected a number from 1 to 65535.")
    return host, int(port), user


def _hops(
    settings: SSHSettings,
    jumps: str,
    ask: Asker,
    environment: Mapping[str, str],
    through: tuple[str, ...],
) -> tuple[SSHSettings, ...]:
    """The way to a server: to the first of its hops by ssh_config, from there on by `jumps`."""
    here = str(ServerName(settings.host, settings.user, settings.port))
    if here in through or len(through) >= _DEEPEST_JUMP:
        raise MonitorSettingError(
            f"ProxyJump of {through[0] if through else here}: {' > '.join((*through, here))} goes in a"
            " circle, expected a way that ends. Set 'ProxyJump none' for the server to jump through."
        )
    found: list[SSHSettings] = []
    # ssh -G writes brackets around every address, of version 4 too.
    for jump in _BRACKETS.sub(r"\1", jumps).split(","):
        text = jump.strip().removeprefix("ssh://").rstrip("/")
        hop = _resolve(
            ServerName.parse(text, f"ProxyJump of {settings.name}"), ask, environment, (*through, here)
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


def _expanded(answer: Answer, keyword: str, expansion: Expansion) -> tuple[Path, ...]:
    return tuple(expansion.file(one, keyword) for one in answer.all(keyword.lower()) if one.lower() != "none")


def _paths(answer: Answer, keyword: str, expansion: Expansion) -> tuple[Path, ...]:
    """Several paths in one text, without quotes: what does not begin like a path goes on with the last."""
    found: list[str] = []
    for word in (answer.first(keyword.lower()) or "").split(" "):
        if found and not word.startswith(("/", "~")):
            if not found[0].startswith(("/", "~")):
                raise MonitorSettingError(f"{keyword}: {word!r}, expected a path that begins with / or ~.")
            found[-1] += f" {word}"
        elif word:
            found.append(word)
    return tuple(expansion.home(one, keyword) for one in found)


def _revoked(answer: Answer, expansion: Expansion) -> Path | None:
    text = answer.first("revokedhostkeys")
    if text is not None and ("%" in text or "${" in text):
        # Only newer versions of ssh expand it: a guess could pass over what is revoked.
        raise MonitorSettingError(f"RevokedHostKeys: {text!r}, expected a path without % and ${{}}.")
    return None if text is None else expansion.home(text, "RevokedHostKeys")


def _agent(answer: Answer, expansion: Expansion, environment: Mapping[str, str]) -> Path | None:
    value = next(iter(answer.all("identityagent")), "SSH_AUTH_SOCK")
    if value.lower() == "none":
        return None
    if value == "SSH_AUTH_SOCK" or (value.startswith("$") and not value.startswith("${")):
        path = environment.get(value.removeprefix("$"), "")
        return Path(path) if path else None
    # ssh -G has expanded it already; without ssh it is as it was written.
    return expansion.home(value, "IdentityAgent")


def _algorithms(answer: Answer) -> Algorithms:
    return Algorithms(
        key_exchanges=answer.words("kexalgorithms"),
        ciphers=answer.words("ciphers"),
        macs=answer.words("macs"),
        host_keys=answer.words("hostkeyalgorithms"),
        logins=answer.words("pubkeyacceptedalgorithms"),
    )


def _number(answer: Answer, keyword: str, default: int) -> int:
    text = answer.first(keyword.lower())
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise MonitorSettingError(f"{keyword}: {text!r}, expected a number.")
    return int(text)


def _seconds(text: str | None, keyword: str) -> float | None:
    """A time as ssh_config writes it: 90, 90s, 1m30s."""
    if text is None or text.lower() == "none":
        return None
    if _TIME.fullmatch(text) is None:
        raise MonitorSettingError(f"{keyword}: {text!r}, expected seconds, or a time like 1m30s, or none.")
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _TIME_PART.findall(text.lower()))
    return float(seconds) or None
