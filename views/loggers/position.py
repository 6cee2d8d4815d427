"""How far a record has been sent to one logger: a small file next to the record.

loggers/NAME.json    the entries that are being sent are in it first: whatever is killed, they are sent again
                     as they were, and a service can recognise them
"""

import dataclasses
import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pylon.storage import parsed_json, write_json
from pylon.views.loggers.contract import End, Entry, LoggerError, Picture, Scalars

VERSION = 1
_KINDS = {"scalars": Scalars, "picture": Picture, "end": End}


@dataclass(frozen=True, slots=True)
class Position:
    """How far a record has been sent.

    Attributes:
        id: of the run, for the service.
        target: a digest of the logger's arguments, which may have a password in them.
        record: when the record's first launch began: another one means another record in its place.
        launch: the one that is being sent; 0: none yet.
        until: of its steps and samples, those before this time are sent.
        mark: the newest mark that is sent.
        step: the greatest step that is sent, of all launches; -1: none.
        launch_step: the greatest step of the present launch; None: it has not taken one.
        rows: how many entries are sent.
        ended: whether the launch's end is sent.
        learning_rate: that goes out with the next steps.
        scores: the last epoch of which each score is sent.
        pictures: a stamp of each file that is sent.
    """

    id: str
    target: str
    record: float
    launch: int = 0
    until: float = 0.0
    mark: int = 0
    step: int = -1
    launch_step: int | None = None
    rows: int = 0
    ended: bool = True
    learning_rate: float | None = None
    scores: dict[str, int] = field(default_factory=dict)
    pictures: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Sending:
    """The content of the file.

    Attributes:
        position: behind the entries that are sent.
        kept: what the logger gave when it had them.
        after: the position behind `entries`.
        entries: which are being sent.
    """

    position: Position
    kept: dict[str, Any] = field(default_factory=dict)
    after: Position | None = None
    entries: tuple[Entry, ...] = ()


def target_of(arguments: Mapping[str, Any]) -> str:
    """What distinguishes the arguments of a logger from others."""
    return hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()[:16]


def read_sending(path: Path, target: str, record: float) -> Sending:
    """What is known of a record; from its begin if the file is absent, or of another target or record.

    Raises:
        LoggerError: the file cannot be read, or was written by a newer Pylon.
    """
    try:
        content = parsed_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Sending(Position(secrets.token_hex(8), target, record))
    except (OSError, ValueError) as error:
        raise _unreadable(path, str(error)) from error
    try:
        if content["version"] != VERSION:
            raise _unreadable(path, f"has version {content['version']!r}, expected {VERSION}")
        sending = Sending(
            Position(**content["position"]),
            dict(content["kept"]),
            None if content["after"] is None else Position(**content["after"]),
            tuple(map(entry_of, content["entries"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise _unreadable(path, f"{type(error).__name__}: {error}") from error
    if sending.position.target != target or sending.position.record != record:
        return Sending(Position(secrets.token_hex(8), target, record))
    return sending


def write_sending(path: Path, sending: Sending) -> None:
    """Write the file, atomically."""
    after = sending.after
    content = {
        "version": VERSION,
        "position": dataclasses.asdict(sending.position),
        "kept": sending.kept,
        "after": None if after is None else dataclasses.asdict(after),
        "entries": list(map(plain_of, sending.entries)),
    }
    write_json(path, content)


def plain_of(entry: Entry) -> list[Any]:
    """An entry as JSON has it."""
    return [type(entry).__name__.lower(), *entry]


def entry_of(plain: list[Any]) -> Entry:
    """The entry that `plain_of` gave.

    Raises:
        KeyError, TypeError: it is none.
    """
    kind, *values = plain
    entry: Entry = _KINDS[kind](*values)
    return entry


def _unreadable(path: Path, problem: str) -> LoggerError:
    return LoggerError(
        f"{path}: {problem}. Remove it to send the record from its begin, as another run of the service."
    )
