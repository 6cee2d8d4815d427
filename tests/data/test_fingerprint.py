"""The fingerprint of a dataset changes with what it lists, and with nothing else."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pylon.data.fingerprint import fingerprint


@dataclass
class Pair:
    files: tuple[Path, ...]
    size: int = 1


class Opaque:
    pass


def listed(root: str) -> list[Any]:
    folder = Path(root)
    return [
        Pair((folder / "a.png", folder / "b.png")),
        {"name": f"{root}/c.png"},
        3,
        np.str_("d"),
        None,
        Opaque(),
    ]


def test_data_set_may_be_moved() -> None:
    assert fingerprint(listed("/old"), Path("/old")) == fingerprint(listed("/new/place"), Path("/new/place"))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, Pair((Path("/old/a.png"), Path("/old/c.png")))),
        (0, Pair((Path("/old/a.png"), Path("/old/b.png")), size=2)),
        (1, {"name": "/old/d.png"}),
        (2, 4),
        (3, np.str_("e")),
        (4, False),
        (5, 1),
    ],
)
def test_any_other_value_is_seen(place: int, value: object) -> None:
    former, current = listed("/old"), listed("/old")
    current[place] = value
    assert fingerprint(former, Path("/old")) != fingerprint(current, Path("/old"))


@pytest.mark.parametrize("current", [[1, 2], [1, 2, 3, 4], [2, 1, 3], range(3), ["1", "2", "3"], [12, 3]])
def test_number_and_order_count(current: Any) -> None:
    assert fingerprint([1, 2, 3], Path()) != fingerprint(current, Path())
    assert fingerprint(current, Path()).startswith(f"{len(current)} datapoints")


def test_list_and_range_of_the_same_numbers_are_the_same() -> None:
    assert fingerprint(range(1, 4), Path()) == fingerprint((1, np.int64(2), 3), Path())


def test_another_process_gives_the_same() -> None:
    code = (
        "from pathlib import Path; from pylon.data.fingerprint import fingerprint; "
        "from tests.data.test_fingerprint import listed; print(fingerprint(listed('/old'), Path('/old')))"
    )
    there = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert there.stdout.strip() == fingerprint(listed("/old"), Path("/old"))
