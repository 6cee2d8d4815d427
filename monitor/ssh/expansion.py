"""What `ssh -G` prints as it was written: ~, ~user, %h, %p and their like, and ${VARIABLE}."""

import os
import pwd
import re
import socket
from collections.abc import Mapping
from hashlib import sha1
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError

_TOKEN = re.compile(r"%(.?)", re.DOTALL)
_VARIABLE = re.compile(r"\$\{([A-Za-z0-9_]*)\}")


class Expansion:
    """Expands the values of one server.

    Args:
        original_host: as it was named.
        host, port, user: resolved.
        account: of the user here.
        alias: HostKeyAlias, or the host.
        jumps: ProxyJump as it was written.
        environment: variables.
    """

    def __init__(
        self,
        *,
        original_host: str,
        host: str,
        port: int,
        user: str,
        account: pwd.struct_passwd,
        alias: str,
        jumps: str,
        environment: Mapping[str, str],
    ) -> None:
        whole = socket.gethostname()
        connection = f"{whole}{host}{port}{user}{jumps}"
        self._account = account
        self._environment = environment
        self._for_commands = {"%": "%", "h": host, "n": original_host, "p": str(port), "r": user}
        self._for_files = {
            **self._for_commands,
            # Not for secrecy: a short name for the connection, as OpenSSH makes it.
            "C": sha1(connection.encode("utf-8", "surrogateescape"), usedforsecurity=False).hexdigest(),
            "d": account.pw_dir,
            "i": str(account.pw_uid),
            "j": jumps,
            "k": alias,
            "l": whole,
            "L": whole.partition(".")[0],
            "u": account.pw_name,
        }

    def command(self, template: str, keyword: str) -> str:
        """`template` with the tokens that a command or a list of hops may have."""
        return self._replace(template, self._for_commands, keyword)

    def file(self, template: str, keyword: str) -> Path:
        """The path that `template` writes, with tokens and variables."""
        expanded = self._replace(str(self.home(template, keyword)), self._for_files, keyword)
        return Path(_VARIABLE.sub(lambda match: self._variable(match.group(1), template, keyword), expanded))

    def home(self, text: str, keyword: str) -> Path:
        """The path that `text` writes, with ~ and ~user and nothing else."""
        if not text.startswith("~"):
            return Path(text)
        user, _, rest = text[1:].partition("/")
        if not user:
            return Path(self._account.pw_dir) / rest
        try:
            return Path(pwd.getpwnam(user).pw_dir) / rest
        except KeyError:
            raise MonitorSettingError(
                f"{keyword}: {text!r}, expected a user of this machine: there is no {user!r}."
            ) from None

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


def own_account() -> pwd.struct_passwd:
    """The entry of this process's user in the user database, without which ssh does not run.

    Raises:
        MonitorSettingError: there is none.
    """
    try:
        return pwd.getpwuid(os.getuid())
    except KeyError:
        raise MonitorSettingError(
            f"user: uid {os.getuid()} has no entry in the user database, expected one: ssh needs a name and"
            " a home directory. Add the uid to /etc/passwd (in a container, or with nss_wrapper);"
            " 'localhost' needs none."
        ) from None
