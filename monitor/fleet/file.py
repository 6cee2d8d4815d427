"""fleet.toml: the servers of a fleet and how they are watched, all of it checked before a monitor starts.

interval_s = 5.0
servers = ["localhost", "alice@gpu1"]

[[server]]
name = "big"
address = "alice@10.0.0.5:2222"
tags = ["a100"]
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.remote.assignment import MOST_HOSTS_PER_PROCESS
from pylon.monitor.ssh import HostKeyPolicy, Resolver, ServerName, refuse_foreign
from pylon.monitor.ssh.server_name import LOCALHOST

_SERVER_KEYS = ("name", "address", "tags")


@dataclass(frozen=True, slots=True)
class FleetProblem:
    """One thing wrong with a fleet file.

    Attributes:
        key_path: where, as in 'server.2.address'.
        value: what is there, as text; None if something is missing.
        expected: what should be there.
    """

    key_path: str
    value: str | None
    expected: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.key_path}{'' if self.value is None else f' is {self.value}'}: {self.expected}"


class FleetError(MonitorSettingError):
    """A fleet file is wrong, with every problem found.

    Args:
        source: the file.
        problems: at least one.
    """

    def __init__(self, source: Path | str, problems: list[FleetProblem]) -> None:
        self.source = source
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {problem}" for problem in problems)]))


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers and settings.

    Attributes:
        servers: address by name, in the order of the file.
        tags: by name.
        settings: arguments of SystemMonitor.
    """

    servers: Mapping[str, str]
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read and check a fleet file.

        Raises:
            FleetError: with all that is wrong: where, the value, what was expected. A server that
                is listed twice, also under two names of one address, is wrong too.
        """
        path = Path(path)
        content = _content(path)
        problems = [*_unknown_keys(content, ("servers", "server", *_SETTINGS), "", "a fleet file")]
        entries = [*_listed(content, problems), *_tables(content, problems)]
        settings = _settings(content, path, problems)
        if not problems and not entries:
            problems.append(FleetProblem("servers", None, "is missing; expected a list of servers"))
        problems += _twice(entries)
        if not any(one.key_path == "ssh_config" for one in problems):
            problems += _same_address(entries, settings.get("ssh_config"))
        if problems:
            raise FleetError(path, problems)
        return cls(
            {entry.name: entry.address for entry in entries},
            {entry.name: entry.tags for entry in entries},
            settings,
        )

    def with_tags(self, tags: list[str]) -> "Fleet":
        """The servers that carry all of `tags`.

        Raises:
            MonitorSettingError: there is none.
        """
        kept = {name: one for name, one in self.servers.items() if set(tags) <= set(self.tags.get(name, ()))}
        if not kept:
            known = sorted({tag for one in self.tags.values() for tag in one})
            raise MonitorSettingError(
                f"tags: no server carries {', '.join(tags)}; tags here: {', '.join(known) or 'none'}."
            )
        return replace(self, servers=kept)


@dataclass(frozen=True, slots=True)
class _Entry:
    key_path: str
    name: str
    address: str
    tags: tuple[str, ...] = ()


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FleetError(path, [FleetProblem("file", None, f"cannot be read: {error}")]) from error


def _unknown_keys(
    table: Mapping[str, Any], accepted: tuple[str, ...], at: str, owner: str
) -> Iterator[FleetProblem]:
    for key in table.keys() - set(accepted):
        near = difflib.get_close_matches(key, accepted, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of: {', '.join(accepted)}"
        yield FleetProblem(f"{at}{key}", _shown(table[key]), f"{owner} does not take it; {hint}")


def _listed(content: Mapping[str, Any], problems: list[FleetProblem]) -> Iterator[_Entry]:
    listed = content.get("servers", [])
    if not isinstance(listed, list):
        problems.append(
            FleetProblem("servers", _shown(listed), "expected a list such as ['localhost', 'gpu1']")
        )
        return
    for number, address in enumerate(listed):
        wrong = _address_problem(address)
        if wrong is not None:
            problems.append(FleetProblem(f"servers.{number}", _shown(address), wrong))
        else:
            yield _Entry(f"servers.{number}", address, address)


def _tables(content: Mapping[str, Any], problems: list[FleetProblem]) -> Iterator[_Entry]:
    tables = content.get("server", [])
    if not (isinstance(tables, list) and all(isinstance(one, dict) for one in tables)):
        problems.append(FleetProblem("server", _shown(tables), "expected tables: [[server]]"))
        return
    for number, table in enumerate(tables):
        at = f"server.{number}."
        found = [*_unknown_keys(table, _SERVER_KEYS, at, "a server"), *_table_problems(table, at)]
        problems += found
        if not found:
            name = table.get("name", table["address"])
            yield _Entry(at[:-1], name, table["address"], tuple(table.get("tags", ())))


def _table_problems(table: Mapping[str, Any], at: str) -> Iterator[FleetProblem]:
    if "address" not in table:
        yield FleetProblem(f"{at}address", None, "is missing; expected [user@]host[:port]")
    elif (wrong := _address_problem(table["address"])) is not None:
        yield FleetProblem(f"{at}address", _shown(table["address"]), wrong)
    name = table.get("name", "any")
    if not (isinstance(name, str) and name.strip() and name.isprintable()):
        yield FleetProblem(f"{at}name", _shown(name), "expected a name in printable characters")
    elif (name == LOCALHOST) != (table.get("address") == LOCALHOST) and "name" in table:
        yield FleetProblem(
            f"{at}name", _shown(name), "expected 'localhost' for this machine, and only for it"
        )
    tags = table.get("tags", [])
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        yield FleetProblem(f"{at}tags", _shown(tags), "expected a list of texts")


def _address_problem(address: object) -> str | None:
    if not isinstance(address, str):
        return "expected a text: localhost or [user@]host[:port]"
    try:
        ServerName.parse(address)
    except MonitorSettingError as error:
        return str(error).partition(", ")[2].rstrip(".")
    return None


def _twice(entries: list[_Entry]) -> Iterator[FleetProblem]:
    first: dict[str, _Entry] = {}
    for entry in entries:
        other = first.setdefault(entry.name, entry)
        if other is not entry:
            yield FleetProblem(
                entry.key_path, _shown(entry.name), f"is at {other.key_path} too; expected it once"
            )


def _same_address(entries: list[_Entry], ssh_config: Path | None) -> Iterator[FleetProblem]:
    """Servers that ssh_config leads to one address; what is wrong in it about a server, too."""
    # A name that is listed twice is reported already; this machine takes no SSH.
    remote = {entry.name: entry for entry in reversed(entries) if entry.address != LOCALHOST}
    if not remote:
        return
    resolver = Resolver(ssh_config)
    try:
        resolver.check()
    except MonitorSettingError as error:
        yield FleetProblem("ssh_config", None if ssh_config is None else repr(str(ssh_config)), str(error))
        return
    named = [(entry, ServerName.parse(entry.address)) for entry in reversed(remote.values())]
    settings = resolver.resolve_all(name for _, name in named)
    first: dict[str, _Entry] = {}
    reported: set[str] = set()
    for entry, name in named:
        found = settings[name]
        if isinstance(found, MonitorSettingError):
            # A line that ssh does not understand is the same error for all servers.
            if str(found) not in reported:
                yield FleetProblem(entry.key_path, _shown(entry.address), str(found))
            reported.add(str(found))
            continue
        other = first.setdefault(found.address, entry)
        if other is not entry:
            yield FleetProblem(
                entry.key_path,
                _shown(entry.address),
                f"is {found.address}, and so is {other.key_path} ({other.address}); expected each"
                " server once",
            )


def _settings(content: Mapping[str, Any], path: Path, problems: list[FleetProblem]) -> dict[str, Any]:
    found = {}
    for key, (fits, expected) in _SETTINGS.items():
        if key not in content:
            continue
        if not fits(content[key]):
            problems.append(FleetProblem(key, _shown(content[key]), f"expected {expected}"))
        else:
            found[key] = content[key]
    if "ssh_config" in found:
        try:
            found["ssh_config"] = path.parent / Path(found["ssh_config"]).expanduser()
            # It chooses the programs that an ssh_config has run in our name.
            refuse_foreign(path, path.stat(), "fleet file with ssh_config")
        except (RuntimeError, MonitorSettingError, OSError) as error:
            text = _shown(found.pop("ssh_config"))
            problems.append(FleetProblem("ssh_config", text, f"expected the path of a file ({error})"))
    return found


def _above_0(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and value > 0  # type: ignore[arg-type, operator]


def _whole(low: int, high: float) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


_POLICIES = [policy.value for policy in HostKeyPolicy]
_SECONDS = (_above_0, "seconds above 0")
_SETTINGS: dict[str, tuple[Callable[[object], bool], str]] = {
    "interval_s": _SECONDS,
    "timeout_s": _SECONDS,
    "slow_interval_s": _SECONDS,
    "window_size": (_whole(1, math.inf), "a whole number from 1 on"),
    "hosts_per_process": (_whole(1, MOST_HOSTS_PER_PROCESS), f"1 to {MOST_HOSTS_PER_PROCESS}"),
    "gpu": (lambda value: isinstance(value, bool), "true or false"),
    "all_commands": (lambda value: isinstance(value, bool), "true or false"),
    "ssh_config": (lambda value: isinstance(value, str) and bool(value.strip()), "the path of a file"),
    "host_keys": (lambda value: value in _POLICIES, " or ".join(map(repr, _POLICIES))),
}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
