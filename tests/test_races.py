"""A test that races is tried again by its marker alone, is named, and fails the run if it is broken."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[1]
# Fails at its first {failures} tries.
_TEST = """
import pathlib, pytest
{marker}
def test_{name}(record=pathlib.Path(__file__).with_name("{name}")):
    tries = len(record.read_text()) if record.exists() else 0
    record.write_text("x" * (tries + 1))
    assert tries >= {failures}, "the bound was missed"
"""
_RACES = '@pytest.mark.races(reason="a real process")'


def suite(folder: Path, *tests: tuple[str, int], marker: str = _RACES) -> None:
    for name, failures in tests:
        content = _TEST.format(name=name, failures=failures, marker=marker)
        (folder / f"test_{name}.py").write_text(content)


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.races", "-p", "no:cacheprovider",
         "-c", "/dev/null", "--rootdir", str(folder), "--strict-markers", *options, str(folder)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def tries(folder: Path, name: str) -> int:
    return len((folder / name).read_text())


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "several processes"])
def test_one_failure_is_named_and_passes_if_both_further_tries_pass(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    suite(tmp_path, ("a", 1), ("b", 0))
    done = run(tmp_path, *options)
    assert done.returncode == 0, done.stdout
    assert (tries(tmp_path, "a"), tries(tmp_path, "b")) == (3, 1)
    assert "2 passed" in done.stdout
    assert "test_a.py::test_a: a real process; first try: " in done.stdout
    assert "test_b.py::test_b:" not in done.stdout


def test_two_failures_of_one_test_fail_the_run(tmp_path: Path) -> None:
    suite(tmp_path, ("a", 2))
    done = run(tmp_path)
    assert done.returncode == 1
    assert "1 failed" in done.stdout
    assert "the bound was missed" in done.stdout


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["one process", "several processes"])
def test_three_tests_that_need_another_try_fail_the_run(tmp_path: Path, options: tuple[str, ...]) -> None:
    suite(tmp_path, ("a", 1), ("b", 1), ("c", 1))
    done = run(tmp_path, *options)
    assert done.returncode == 1, done.stdout
    assert "3 such tests in one run, at most 2 are accepted" in done.stdout


def test_a_test_without_the_marker_is_tried_once(tmp_path: Path) -> None:
    suite(tmp_path, ("a", 1), marker="")
    assert run(tmp_path).returncode == 1
    assert tries(tmp_path, "a") == 1


@pytest.mark.parametrize("marker", ["@pytest.mark.races", '@pytest.mark.races(reason="")'])
def test_the_marker_needs_a_reason(tmp_path: Path, marker: str) -> None:
    suite(tmp_path, ("a", 0), marker=marker)
    done = run(tmp_path)
    assert done.returncode == 4
    assert "must say what races" in done.stdout + done.stderr


def test_fixtures_are_made_again_for_another_try(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "made = []\n"
        "@pytest.fixture\n"
        "def one():\n"
        "    made.append(1)\n"
        "    return len(made)\n"
        f"{_RACES}\n"
        "def test_a(one, tmp_path):\n"
        "    assert one > 1\n"
    )
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout
