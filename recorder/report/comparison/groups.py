"""Which runs are repetitions of one another, and what differs between those that are not."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pylon.recorder.report.comparison.contender import Contender

# The seed, what follows from it, and what names the run: they differ between repetitions.
_OF_A_REPETITION = re.compile(
    r"(^|[._])seeds?($|[._\d])|(^|\.)(work_dir|name|run_name|record)$", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one configuration and number of ranks, whatever their seeds.

    Attributes:
        name: for legends.
        members: numbers of the runs, from 0.
    """

    name: str
    members: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """One key whose value is not the same everywhere.

    Attributes:
        key: its path.
        values: each value (None: the key is absent) with the numbers of the runs that have it, from 0.
    """

    key: str
    values: tuple[tuple[str | None, tuple[int, ...]], ...]


def is_of_a_repetition(key: str) -> bool:
    """Whether a key differs between repetitions of a run."""
    return _OF_A_REPETITION.search(key) is not None


def differences(tables: Sequence[Mapping[str, str]]) -> list[Difference]:
    """The keys whose values differ, in the order of the first run that has them."""
    keys = dict.fromkeys(key for table in tables for key in table)
    found = []
    for key in keys:
        by_value: dict[str | None, list[int]] = {}
        for number, table in enumerate(tables):
            by_value.setdefault(table.get(key), []).append(number)
        if len(by_value) > 1:
            found.append(Difference(key, tuple((value, tuple(runs)) for value, runs in by_value.items())))
    return found


def groups_of(contenders: Sequence[Contender]) -> list[Group]:
    """The runs by repetition; one whose configuration was not recorded is alone."""
    tables = [_identity(contender) for contender in contenders]
    changed = [one for one in differences(tables) if not is_of_a_repetition(one.key)]
    by_identity: dict[tuple[object, ...], list[int]] = {}
    for number, table in enumerate(tables):
        identity = tuple(table.get(one.key) for one in changed) if table else (number,)
        by_identity.setdefault((bool(table), *identity), []).append(number)
    names = run_names(contenders)
    found = []
    for members in by_identity.values():
        first = members[0]
        name = names[first]
        if len(members) > 1:
            label = _label(changed, tables[first]) or name
            name = f"{label} (mean of {len(members)} seeds)"
        found.append(Group(name, tuple(members)))
    return found


def _identity(contender: Contender) -> dict[str, str]:
    """What is the same for repetitions; more ranks add up gradients in another order, to other bits."""
    table, ranks = contender.configuration, contender.start.get("ranks")
    return {**table, "ranks": ranks} if table and ranks is not None else table


def run_names(contenders: Sequence[Contender]) -> list[str]:
    """A name for each run, numbered from 1 as everywhere in a comparison."""
    return [f"{number} {contender.story.title}" for number, contender in enumerate(contenders, 1)]


def _label(changed: Sequence[Difference], table: Mapping[str, str]) -> str:
    """What distinguishes a group from the others, by at most two keys."""
    parts = [f"{one.key.rpartition('.')[2]} {table.get(one.key, '-')}" for one in changed[:2]]
    return ", ".join(parts)
