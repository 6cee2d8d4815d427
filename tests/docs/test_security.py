"""Each statement of SECURITY.md names a test that exists."""

import ast
import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8")
ROWS = [line for line in TEXT.splitlines() if line.startswith("| ") and not line.endswith("| held by |")]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_there_are_rows() -> None:
    assert len(ROWS) > 10


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_row_is_held_by_tests_that_exist(row: str) -> None:
    *_, held_by, end = row.split("|")
    assert end == ""
    named = NAMED.findall(held_by)
    assert named, "a row names at least one test as `tests/PATH.py::test_NAME`"
    assert NAMED.sub("", held_by).strip(" ,") == "", "nothing else is in the last column"
    assert [f"{file}::{test}" for file, test in named if test not in names_in(REPOSITORY / file)] == []
