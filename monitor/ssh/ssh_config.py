"""The user's and the system's ssh_config, read as OpenSSH reads them.

paramiko's own reader knows no Include, runs what `Match exec` names, takes [ab] for a pattern and
looks names up in the DNS; so this one is ours. `ssh -G` is its reference in the tests.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from pwd import getpwuid
from typing import Self

from pylon.monitor.errors import MonitorSettingError

SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")

_DEEPEST_INCLUDE = 16
_LARGEST_FILE_BYTES = 4 * 2**20
_LINE = re.compile(r"([A-Za-z0-9]+)(?:\s*=\s*|\s+)(.*\S)", re.DOTALL)
_WORD = re.compile(r"""\s*((?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\["'\\ ]|[^\s"'])+)""")
_PIECE = re.compile(r""""((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|\\(["'\\ ])|([^"'])""")
_ESCAPE = re.compile(r"""\\(["'\\])""")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file.

    Attributes:
        keyword: in lower case.
        words: its arguments, without quotes.
        rest: all that follows the keyword, as it stands: a command is taken whole.
        where: file and number, for errors.
        included: for Include: the lines of the files it names.
    """

    keyword: str
    words: tuple[str, ...]
    rest: str
    where: str
    included: "tuple[Line, ...]" = ()


@dataclass(frozen=True, slots=True)
class SSHConfig:
    """Both files, with what they include. Read once, asked for any number of servers.

    Attributes:
        lines: the user's, then the system's: what comes first counts.
        home: the user's home directory, to which ~ and relative paths refer.
        user: the user here.
    """

    lines: tuple[Line, ...]
    home: Path
    user: str

    @classmethod
    def read(
        cls,
        user_config: Path | None = None,
        system_config: Path | None = SYSTEM_CONFIG,
        home: Path | None = None,
    ) -> Self:
        """Read the files.

        Args:
            user_config: None: ~/.ssh/config, which may be missing but must not be open to others.
            system_config: may be missing; None: none.
            home: None: the user's own, from the user data base and not from $HOME, as ssh does it.

        Raises:
            MonitorSettingError: a file cannot be read or a line of it not be understood.
        """
        account = getpwuid(os.getuid())
        home = home or Path(account.pw_dir)
        files = _Files(home)
        lines: tuple[Line, ...] = ()
        if user_config is not None:
            lines += files.lines(user_config, home / ".ssh")
        else:
            lines += files.lines(home / ".ssh/config", home / ".ssh", may_lack=True, private=True)
        if system_config is not None:
            lines += files.lines(system_config, system_config.parent, may_lack=True)
        return cls(lines, home, account.pw_name)

    @classmethod
    def empty(cls, home: Path | None = None) -> Self:
        """No files: the defaults for every server."""
        account = getpwuid(os.getuid())
        return cls((), home or Path(account.pw_dir), account.pw_name)


@dataclass(frozen=True, slots=True)
class _Files:
    home: Path

    def lines(
        self,
        path: Path,
        base: Path,
        depth: int = 0,
        *,
        may_lack: bool = False,
        private: bool = False,
    ) -> tuple[Line, ...]:
        """The lines of a file; relative Includes in it start from `base`."""
        if depth > _DEEPEST_INCLUDE:
            raise MonitorSettingError(f"{path}: included {depth} deep, expected {_DEEPEST_INCLUDE} at most.")
        try:
            text = _content(path, private)
        except FileNotFoundError as error:
            if may_lack:
                return ()
            raise MonitorSettingError(f"ssh_config: {str(path)!r}, expected a file ({error}).") from error
        except OSError as error:
            raise MonitorSettingError(f"ssh_config: {str(path)!r} cannot be read ({error}).") from error
        found = []
        for number, raw in enumerate(text.split("\n"), 1):
            line = raw.strip(" \t\r\f")
            if not line or line.startswith("#"):
                continue
            where = f"{path}:{number}"
            match = _LINE.fullmatch(line)
            if match is None:
                raise MonitorSettingError(f"{where}: {line!r}, expected a keyword and its value.")
            keyword, rest = match.group(1).lower(), match.group(2)
            words = () if keyword == "proxycommand" else tuple(_words(rest, where))
            included: tuple[Line, ...] = ()
            if keyword == "include":
                for pattern in words:
                    for one in self._included(pattern, base):
                        included += self.lines(one, base, depth + 1, may_lack=True, private=private)
            found.append(Line(keyword, words, rest, where, included))
        return tuple(found)

    def _included(self, pattern: str, base: Path) -> list[Path]:
        if pattern == "~" or pattern.startswith("~/"):
            pattern = str(self.home) + pattern[1:]
        # Not Path.glob: a pattern may start anywhere and have several parts.
        found = sorted(glob(str(base / pattern)))  # noqa: PTH207
        return [Path(one) for one in found if Path(one).is_file()]


def _content(path: Path, private: bool) -> str:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        # Who can write it can have commands run as us.
        if private and (status.st_uid not in {0, os.getuid()} or status.st_mode & 0o022):
            raise MonitorSettingError(
                f"{path}: mode {stat.filemode(status.st_mode)} of user {status.st_uid}, expected a file"
                " of yours that nobody else can write."
            )
        return file.read(_LARGEST_FILE_BYTES).decode("utf-8", "surrogateescape")


def _words(text: str, where: str) -> Iterator[str]:
    """The words of a line up to a comment; quotes keep spaces and are taken off."""
    at = 0
    while text[at:].strip():
        match = _WORD.match(text, at)
        if match is None:
            raise MonitorSettingError(f"{where}: {text!r}, expected quotes that are closed.")
        if match.group(1).startswith("#"):
            return
        at = match.end()
        yield "".join(
            _ESCAPE.sub(r"\1", double or single) or escaped or plain
            for double, single, escaped, plain in _PIECE.findall(match.group(1))
        )
