"""Reads ssh_config with paramiko's own reader, on a machine that has no ssh program.

It knows less than OpenSSH. What it would pass over in silence is refused by name.
"""

import re
from pathlib import Path

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.expansion import own_account
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.watched_files import SYSTEM_CONFIG

MISSING = (
    "the ssh program is not installed: ssh_config is read without it, which knows no Include, no Match with"
    " exec, localnetwork or tagged, no canonical names and no changes (+, -, ^) to lists of algorithms."
    " Install OpenSSH's client"
)

_LARGEST_FILE_BYTES = 4 * 2**20
_NOT_READ = re.compile(
    r"\s*(?:include\b|match\b.*\b(?:exec|localnetwork|tagged|version|sessiontype|command)\b"
    r"|canonicalizehostname\b[\s=\"]*(?:yes|always))",
    re.IGNORECASE,
)
_LISTS = ("ciphers", "hostkeyalgorithms", "kexalgorithms", "macs", "pubkeyacceptedalgorithms")
_DEFAULTS = {
    "identityfile": ("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"),
    "userknownhostsfile": ("~/.ssh/known_hosts ~/.ssh/known_hosts2",),
    "globalknownhostsfile": ("/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2",),
}


class WithoutSSH:
    """The files themselves, read each time that they are asked. Used by any thread.

    Args:
        config: the file in the place of the user's and the system's; None: those.
    """

    def __init__(self, config: Path | None) -> None:
        self._config = config

    def ask(self, name: ServerName) -> Answer:
        """The configuration of `name`.

        Raises:
            MonitorSettingError: they cannot be read, or have what only OpenSSH understands.
        """
        # Imported here: loading paramiko takes a tenth of a second.
        from paramiko import SSHConfig  # noqa: PLC0415
        from paramiko.ssh_exception import ConfigParseError, CouldNotCanonicalize  # noqa: PLC0415

        account = own_account()
        files = [self._config] if self._config else [Path(account.pw_dir) / ".ssh/config", SYSTEM_CONFIG]
        try:
            # The first value of a keyword counts; a file begins outside all blocks.
            text = "\nMatch all\n".join(_content(one, may_lack=self._config is None) for one in files)
            found = SSHConfig.from_text(text).lookup(name.host)
        except (ConfigParseError, CouldNotCanonicalize, ImportError, ValueError) as error:
            raise MonitorSettingError(f"ssh_config of {str(name)!r}: {error}; {MISSING}.") from error
        values = {
            **_DEFAULTS,
            "port": ("22",),
            "user": (account.pw_name,),
            **{key: tuple(one) if isinstance(one, list) else (str(one),) for key, one in found.items()},
        }
        if name.user is not None:
            values["user"] = (name.user,)
        if name.port is not None:
            values["port"] = (str(name.port),)
        return _checked(Answer(values, tuple(files)), name)


def _checked(answer: Answer, name: ServerName) -> Answer:
    changed = [key for key in _LISTS if (answer.first(key) or "").startswith(("+", "-", "^"))]
    if changed:
        raise MonitorSettingError(f"ssh_config of {str(name)!r}: {', '.join(changed)}: {MISSING}.")
    return answer


def _content(path: Path, may_lack: bool) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")
    except FileNotFoundError as error:
        if may_lack:
            return ""
        raise MonitorSettingError(f"ssh_config: {str(path)!r}, expected a file ({error}).") from error
    except OSError as error:
        raise MonitorSettingError(f"ssh_config: {str(path)!r} cannot be read ({error}).") from error
    for number, line in enumerate(text.splitlines(), 1):
        if _NOT_READ.match(line):
            raise MonitorSettingError(f"{path}:{number}: {line.strip()!r}: {MISSING}.")
    return text
