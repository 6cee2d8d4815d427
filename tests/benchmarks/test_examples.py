"""The figures of the examples: what counts as a line of code, and that the page has the counts of today."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.examples.data_layer import seconds_per_datapoint
from benchmarks.examples.lines import SHARED, code_lines, lines_of_example, lines_of_peer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


def test_docstrings_comments_blank_lines_and_what_is_shared_do_not_count() -> None:
    source = (
        '"""Text.\n\nMore."""\n\n# why\nX = 1\nSHARED = [\n    1,\n]\n\n\n'
        'def f():\n    """Text."""\n    return (\n        X\n    )\n'
    )
    assert code_lines(source, set()) == 1 + 3 + 4
    assert code_lines(source, {"SHARED"}) == 1 + 4


@pytest.mark.parametrize("name", SHARED)
def test_page_has_the_lines_of_each_example_and_its_peers(name: str) -> None:
    row = re.search(rf"^\| {name} \|.*\|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert row is not None
    peers = [lines_of_peer(trainer, name) for trainer in ("lightning", "transformers")]
    expected = [str(lines_of_example(name)), *("-" if lines is None else str(lines) for lines in peers)]
    assert row[0].strip("| ").split(" | ")[-3:] == expected


def test_imports_of_a_start_are_all_counted() -> None:
    """What a process has loaded before it counts would be taken for Pylon's own time."""
    code = "import sys, benchmarks.examples.first_step; print({'torch', 'pylon.runners'} & set(sys.modules))"
    seen = subprocess.run([sys.executable, "-c", code], cwd=PAGE.parents[1], capture_output=True, check=True)
    assert seen.stdout.strip() == b"set()"


def test_both_loaders_are_measured() -> None:
    by_torch, by_pylon = seconds_per_datapoint("tabular")
    assert by_torch > 0
    assert by_pylon > 0
