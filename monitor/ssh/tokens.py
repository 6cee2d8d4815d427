"""The tokens of ssh_config: %h, %p and their like, ~ and ${VARIABLE}."""

import os
import re
from collections.abc import Mapping
from hashlib import sha1
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.ssh_config_lookup import local_host_names

_TOKEN = re.compile(r"%(.?)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_]*)\}")


class Tokens:
    """What stands for what in the values of one server.

    Args:
        original_host: as it was named.
        host, port, user: resolved.
        home, local_user: of the user here.
        alias: HostKeyAlias, or the host.
        jumps: ProxyJump as it stands.
        environment: variables.
    """

    def __init__(
        self,
        *,
        original_host: str,
        host: str,
        port: int,
        user: str,
        home: Path,
        local_user: str,
        alias: str,
        jumps: str,
        environment: Mapping[str, str],
    ) -> None:
        whole, short = local_host_names()
        connection = f"{whole}{host}{port}{user}{jumps}"
        self._home = str(home)
        self._environment = environment
        self._for_commands = {"%": "%", "h": host, "n": original_host, "p": str(port), "r": user}
        self._for_files = {
            **self._for_commands,
            # Not for secrecy: a short name for the connection, as OpenSSH makes it.
            "C": sha1(connection.encode(), usedforsecurity=False).hexdigest(),
            "d": self._home,
            "i": str(os.getuid()),
            "j": jumps,
            "k": alias,
            "l": whole,
            "L": short,
            "u": local_user,
        }

    def command(self, template: str, keyword: str) -> str:
        """`template` with the tokens that a command or a list of hops may have."""
        return self._replace(template, self._for_commands, keyword)

    def file(self, template: str, keyword: str) -> Path:
        """The path that `template` writes."""
        if template == "~" or template.startswith("~/"):
            template = self._home.replace("%", "%%") + template[1:]
        expanded = self._replace(template, self._for_files, keyword)
        return Path(_VARIABLE.sub(lambda match: self._variable(match.group(1), template, keyword), expanded))

    def _variable(self, name: str, template: str, keyword: str) -> str:
        value = self._environment.get(name)
        if value is None:
            raise MonitorSettingError(f"{keyword}: {template!r}, expected ${name} to be set.")
        return value

    def _replace(self, template: str, tokens: Mapping[str, str], keyword: str) -> str:
        def one(match: re.Match[str]) -> str:
            value = tokens.get(match.group(1))
            if value is None:
                known = " ".join(f"%{token}" for token in tokens)
                raise MonitorSettingError(
                    f"{keyword}: {match.group()!r} in {template!r}, expected one of {known}."
                )
            return value

        return _TOKEN.sub(one, template)
