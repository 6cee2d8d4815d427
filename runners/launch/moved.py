"""Places that a configuration names and that are elsewhere now, as after a move to another machine.

    model.class:                  /home/a/exp/run.py:Net  ──>  /data/exp/run.py:Net
    train_dataset.args.data_root: /home/a/levir_cd        ──>  /data/levir_cd

A place has moved if the former one is gone; if both exist, they may be two different things. Files with the
content of the launch before are the same wherever they are. Whether a data set lists what it listed is
compared when the run resumes.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.runners.config.names import place_of
from pylon.storage import with_home

_DATA_ROOT = re.compile(r"(train|val|test)_dataset\.args\.data_root")
_CODE = re.compile(r"(.+\.)?(class|function)")


def moved(
    key_path: str, former: object, current: object, files: Mapping[str, Any], present: Mapping[str, str]
) -> tuple[str, str] | None:
    """The former and the present place, if a value differs only because what it names was moved; else None.

    Args:
        key_path: where the value is in the configuration.
        former: the value of the launch before, from JSON.
        current: the value now.
        files: digests of the configuration files of the launch before, by path.
        present: those of now.
    """
    if not isinstance(former, str) or not isinstance(current, str):
        return None
    if _DATA_ROOT.fullmatch(key_path):
        is_elsewhere = not with_home(former).exists() and with_home(current).exists()
        return (former, current) if is_elsewhere else None
    old, new = place_of(former), place_of(current)
    if old is None or new is None or not _CODE.fullmatch(key_path):
        return None
    if former.removeprefix(str(old)) != current.removeprefix(str(new)):
        return None  # another class, or another module
    if not _is_same_code(old, new, files, present):
        return None
    return str(old), str(new)


def _is_same_code(old: Path, new: Path, files: Mapping[str, Any], present: Mapping[str, str]) -> bool:
    """Whether a configuration file or a folder of modules is another one, moved."""
    if old.suffix == ".py" and old.name != new.name:
        return False
    if not old.exists():
        return True
    if old.suffix == ".py":
        # With the modules next to it, which its classes may use.
        return _have_same_content(old.parent, new.parent, files, present)
    return _have_same_content(old, new, files, present)


def _have_same_content(old: Path, new: Path, files: Mapping[str, Any], present: Mapping[str, str]) -> bool:
    """Whether each recorded file below `old` has its content below `new`."""
    below = {path: digest for path, digest in files.items() if Path(path).is_relative_to(old)}
    return bool(below) and all(
        present.get(str(new / Path(path).relative_to(old))) == digest for path, digest in below.items()
    )
