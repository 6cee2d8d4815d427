"""What the lines of ssh_config say about one server."""

import re
import socket
from collections.abc import Iterator, Sequence
from functools import lru_cache

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.ssh_config import Line, SSHConfig

_CRITERIA = "all, canonical, final, host, originalhost, user, localuser or tagged"
_WITH_EQUALS = re.compile(r"(!?(?:host|originalhost|user|localuser|tagged|exec))=(.*)", re.IGNORECASE)


class Options:
    """Keywords and their values for one server: for each, what comes first counts.

    Args:
        name: the server as it was named; its user and port come before all files.
        config: the files.
    """

    def __init__(self, name: ServerName, config: SSHConfig) -> None:
        self.original_host = name.host
        self.values: dict[str, tuple[str, ...]] = {}
        self.identity_files: list[str] = []
        self.proxy_command: str | None = None
        self._config = config
        self._final_asked = False
        if name.user is not None:
            self.values["user"] = (name.user,)
        if name.port is not None:
            self.values["port"] = (str(name.port),)
        self._apply(config.lines, name.host, active=True, possible=True, final=False)
        self._check_canonical()
        if self._final_asked:
            # What the first pass came to stays, also if it was no HostName line.
            self.values["hostname"] = (self.host,)
            self._apply(config.lines, self.host, active=True, possible=True, final=True)

    @property
    def host(self) -> str:
        """The name to connect to."""
        pattern = self.first("hostname")
        if pattern is None:
            return self.original_host
        return pattern.replace("%%", "\0").replace("%h", self.original_host).replace("\0", "%")

    def first(self, keyword: str) -> str | None:
        """The value of a keyword that takes one; None: it is not set."""
        values = self.values.get(keyword)
        return values[0] if values else None

    def yes(self, keyword: str, default: bool = False) -> bool:
        """The value of a keyword that takes yes or no."""
        value = self.first(keyword)
        return default if value is None else value.lower() in {"yes", "true"}

    def _apply(self, lines: Sequence[Line], host: str, *, active: bool, possible: bool, final: bool) -> None:
        """Take over what applies; `possible` is False inside an Include of a block that does not."""
        for line in lines:
            if line.keyword == "host":
                active = possible and _host_line_matches(host, line.words)
            elif line.keyword == "match":
                active = self._match_line_matches(line, host, possible, final)
            elif line.keyword == "include":
                self._apply(line.included, host, active=active, possible=possible and active, final=final)
            elif active:
                self._take(line)

    def _take(self, line: Line) -> None:
        if line.keyword == "proxycommand":
            # Of ProxyCommand and ProxyJump too, what comes first counts.
            if self.proxy_command is None and "proxyjump" not in self.values:
                self.proxy_command = line.rest
        elif not line.words:
            raise MonitorSettingError(f"{line.where}: {line.keyword} has no value.")
        elif line.keyword == "identityfile":
            if line.words[0] not in self.identity_files:
                self.identity_files.append(line.words[0])
        elif line.keyword != "proxyjump" or self.proxy_command is None:
            self.values.setdefault(line.keyword, line.words)

    def _match_line_matches(self, line: Line, host: str, possible: bool, final: bool) -> bool:
        """Whether a Match line holds: all its criteria do."""
        holds = possible
        for criterion, negated, value in _criteria(line):
            if criterion == "all":
                met = True
            elif criterion in {"canonical", "final"}:
                # Names are never made canonical here: see `_check_canonical`.
                self._final_asked |= criterion == "final"
                met = final
            elif criterion == "host":
                met = pattern_list_matches((self.host if "hostname" in self.values else host).lower(), value)
            elif criterion == "originalhost":
                met = pattern_list_matches(self.original_host.lower(), value)
            elif criterion == "user":
                met = pattern_list_matches(self.first("user") or self._config.user, value)
            elif criterion == "localuser":
                met = pattern_list_matches(self._config.user, value)
            elif criterion == "tagged":
                met = pattern_list_matches(self.first("tag") or "", value)
            elif holds:
                # A wrong guess could connect to another machine: only refusing is safe.
                raise MonitorSettingError(
                    f"{line.where}: 'Match {criterion}' decides about {self.original_host!r} and is not"
                    f" supported (exec would run a program), expected {_CRITERIA}."
                )
            else:
                met = False
            holds &= met != negated
        return holds

    def _check_canonical(self) -> None:
        """Refuse where OpenSSH would look for the name in other domains."""
        if (self.first("canonicalizehostname") or "no").lower() not in {"yes", "always"}:
            return
        if not self.values.get("canonicaldomains") or ":" in self.host:
            return
        if self.host.count(".") <= int(self.first("canonicalizemaxdots") or 1):
            raise MonitorSettingError(
                f"CanonicalizeHostname: 'yes' for {self.host!r} is not supported, expected the full name"
                " of the server, or 'CanonicalizeHostname no' for it."
            )


def pattern_matches(text: str, pattern: str) -> bool:
    """Whether `text` matches a pattern of ssh_config or known_hosts: * and ? and nothing else."""
    return _compiled(pattern).fullmatch(text) is not None


def pattern_list_matches(text: str, patterns: str) -> bool:
    """Whether `text` matches patterns with commas between: one at least, and none with a ! before it."""
    found = False
    for pattern in patterns.split(","):
        if pattern.startswith("!"):
            if pattern_matches(text, pattern[1:]):
                return False
        elif pattern_matches(text, pattern):
            found = True
    return found


def local_host_names() -> tuple[str, str]:
    """The name of this machine, whole and up to its first dot."""
    whole = socket.gethostname()
    return whole, whole.partition(".")[0]


def _host_line_matches(host: str, patterns: Sequence[str]) -> bool:
    if any(pattern_matches(host, one[1:]) for one in patterns if one.startswith("!")):
        return False
    return any(pattern_matches(host, one) for one in patterns if not one.startswith("!"))


def _criteria(line: Line) -> Iterator[tuple[str, bool, str]]:
    """Each criterion of a Match line in lower case, whether it is negated, and its value."""
    words = [part for word in line.words for part in _split_criterion(word)]
    while words:
        criterion = words.pop(0).lower()
        negated = criterion.startswith("!")
        criterion = criterion.removeprefix("!")
        if criterion in {"all", "canonical", "final"}:
            yield criterion, negated, ""
        elif words:
            yield criterion, negated, words.pop(0)
        else:
            raise MonitorSettingError(f"{line.where}: Match {criterion} has no value.")


def _split_criterion(word: str) -> Sequence[str]:
    match = _WITH_EQUALS.fullmatch(word)
    return (word,) if match is None else match.groups()


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = (".*" if one == "*" else "." if one == "?" else re.escape(one) for one in pattern)
    return re.compile("".join(parts), re.DOTALL)
