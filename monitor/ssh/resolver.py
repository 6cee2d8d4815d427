"""From servers' names to settings: each name asked once, and again when something may have changed."""

import os
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.ask_ssh import SSHProgram, SSHRefusalError
from pylon.monitor.ssh.expansion import own_account
from pylon.monitor.ssh.keywords import fate, refuse_what_ssh_would
from pylon.monitor.ssh.resolution import resolve
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.settings import SSHSettings
from pylon.monitor.ssh.watched_files import (
    SYSTEM_CONFIG,
    Stamps,
    included_by,
    is_pattern,
    refuse_writable_by_others,
    stamps_of,
)
from pylon.monitor.ssh.without_ssh import MISSING, WithoutSSH

# A program (Match exec) or the DNS had a part in the answer: the network may be another one by now.
_VOLATILE_FOR_S = 30.0
# What is not watched has a part too: the user database, this machine's own name.
_KEPT_FOR_S = 600.0
_RESOLVED_AT_ONCE = 8


def missing_ssh() -> str:
    """What is not supported on this machine, as it has no ssh program; "" if it has one."""
    return f"{MISSING}." if shutil.which("ssh") is None else ""


class _Asks(Protocol):
    def ask(self, name: ServerName) -> Answer:
        """The configuration of one server."""


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Answer
    until_s: float
    watched: "_Watched"
    seen: Stamps


@dataclass(frozen=True, slots=True)
class _Watched:
    files: frozenset[Path] = frozenset()
    folders: frozenset[Path] = frozenset()

    @classmethod
    def of(cls, read: Iterable[Path]) -> Self:
        """The files that were read, those that they would include, and the folders of their patterns."""
        read = frozenset(read)
        named = frozenset(one for file in read for one in included_by(file))
        patterns = frozenset(one for one in named if is_pattern(one))
        folders = frozenset(one.parent for one in patterns if not is_pattern(one.parent))
        return cls(read | (named - patterns), folders)

    def stamps(self) -> Stamps:
        return stamps_of(self.files, self.folders)

    def __or__(self, other: "_Watched") -> "_Watched":
        return _Watched(self.files | other.files, self.folders | other.folders)


class Resolver:
    """Resolves names by one configuration. Used by any thread; not for the training process.

    Args:
        config: the file in the place of ~/.ssh/config and the system's, as `ssh -F` takes it; None: those.
        environment: variables; None: this process's.
        program: OpenSSH's client; None: the one in PATH; "": none.
    """

    def __init__(
        self,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
        program: str | None = None,
    ) -> None:
        # A name without a folder is one in the current folder, for ssh and for us.
        self._config = None if config is None else config.absolute()
        self._environment = os.environ if environment is None else environment
        found = shutil.which("ssh") if program is None else program
        self._asks: _Asks = (
            SSHProgram(found, self._config, self._environment) if found else WithoutSSH(self._config)
        )
        self._kept: dict[ServerName, _Kept] = {}
        self._watched = _Watched()
        self._lock = threading.Lock()

    def resolve(self, name: ServerName) -> SSHSettings:
        """The settings of `name`, which is not a local one.

        Raises:
            MonitorSettingError: it cannot be read, is wrong, or asks for what is not supported.
        """
        return resolve(name, self._answer, self._environment)

    def resolve_all(self, names: Iterable[ServerName]) -> dict[ServerName, SSHSettings | MonitorSettingError]:
        """The settings of each of `names`, or why the configuration cannot be followed."""

        def one(name: ServerName) -> SSHSettings | MonitorSettingError:
            try:
                return self.resolve(name)
            except MonitorSettingError as error:
                return error

        listed = list(dict.fromkeys(names))
        with ThreadPoolExecutor(_RESOLVED_AT_ONCE) as pool:
            return dict(zip(listed, pool.map(one, listed), strict=True))

    def check(self) -> None:
        """Refuse what no server can be looked up with.

        Raises:
            MonitorSettingError: this user has no account, or the file is missing or not ours alone.
        """
        own_account()
        if self._config is not None:
            refuse_writable_by_others(self._config)

    def stamps(self) -> Stamps:
        """What changes when the user writes, makes or removes a file that had a part in any answer."""
        return (self._watched | _Watched(frozenset(self._roots()))).stamps()

    def _answer(self, name: ServerName) -> Answer:
        with self._lock:
            kept = self._kept.get(name)
        if kept is None or time.monotonic() >= kept.until_s or kept.seen != kept.watched.stamps():
            kept = self._asked(name)
            with self._lock:
                self._kept[name] = kept
        return kept.answer

    def _asked(self, name: ServerName) -> _Kept:
        self.check()
        began_ns = time.time_ns()
        try:
            answer = self._asks.ask(name)
        except SSHRefusalError as error:
            self._watch(error.files)
            raise MonitorSettingError(str(error)) from error
        watched = self._watch(answer.files)
        refuse_what_ssh_would(name, answer)
        # What has no effect is some kilobytes for each server.
        values = {key: found for key, found in answer.values.items() if fate(key) == "obeyed"}
        answer = replace(answer, values=values)
        seen = watched.stamps()
        # One that was written meanwhile may have been read before or after.
        torn = any(one.stat().st_mtime_ns >= began_ns for one in answer.files if one.exists())
        for_s = 0.0 if torn else _VOLATILE_FOR_S if answer.changes_by_itself else _KEPT_FOR_S
        return _Kept(answer, time.monotonic() + for_s, watched, seen)

    def _watch(self, read: Iterable[Path]) -> _Watched:
        watched = _Watched.of((*self._roots(), *read))
        with self._lock:
            self._watched |= watched
        return watched

    def _roots(self) -> tuple[Path, ...]:
        if self._config is not None:
            return (self._config,)
        return Path(own_account().pw_dir) / ".ssh/config", SYSTEM_CONFIG
