"""The kill script in short form, and proof that it would see a difference."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pylon.runners.launch.new import KINDS
from tests.shutdown.compare_runs import differences, unequal

REPOSITORY = Path(__file__).resolve().parents[2]


def attack(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.shutdown.resume", *arguments],
        cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        timeout=560, check=False,
    )  # fmt: skip


@pytest.mark.ci
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ranks", ["1", "2"])
def test_a_run_killed_six_times_at_random_ends_with_the_bits_of_a_whole_one(ranks: str) -> None:
    # How long a stop takes is the machine's load in a test suite; by hand the script asks for 5 s.
    ended = attack(
        *("--kills", "6", "--seed", "3", "--stop-within", "60", "--minutes", "2"),
        *("--ranks", ranks, "--subject", "segmentation"),
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " kills, " in ended.stdout
    assert ", 0 differences" in ended.stdout


@pytest.mark.ci
@pytest.mark.timeout(600)
@pytest.mark.parametrize("subject", ["stream", *KINDS])
def test_each_kind_of_example_killed_at_random_ends_with_the_bits_of_a_whole_run(subject: str) -> None:
    ended = attack(
        *("--kills", "2", "--seed", "1", "--stop-within", "60", "--minutes", "1", "--subject", subject)
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"run 1, {subject}: " in ended.stdout
    assert ", 0 differences" in ended.stdout


@pytest.mark.ci
def test_launch_that_fails_is_found_with_what_it_printed() -> None:
    ended = attack("--kills", "2", "--minutes", "1", "--subject", "segmentation", "--device", "cuda:99")
    assert ended.returncode == 1
    assert "the last launch: exit codes [2], expected [0]" in ended.stdout
    assert "it printed: " in ended.stdout
    assert "cuda:99" in ended.stdout
    assert "Traceback" not in ended.stderr


@pytest.mark.ci
def test_no_kills_is_a_wrong_command_line() -> None:
    assert attack("--kills", "0").returncode == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": 0.1}, {"a": 0.1 + 2**-55}),
        ({"a": [1]}, {"a": [1, 2]}),
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 1.0}),
        ({"a": {"time_s": 1, "b": None}}, {"a": {"time_s": 2, "b": 0}}),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0000002])),
    ],
)
def test_comparison_sees(one: object, other: object) -> None:
    assert unequal(one, other) != []
    assert unequal(one, one) == []


def test_comparison_leaves_times_out() -> None:
    assert unequal({"training_time_s": 1, "loss": 2.0}, {"training_time_s": 3, "loss": 2.0}) == []


def test_comparison_names_files_that_one_run_alone_has(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "one" / "history.json").write_text("[]")
    (tmp_path / "other" / "step_3.pt").write_bytes(b"")
    (tmp_path / "other" / "step_3.pt").unlink()
    (tmp_path / "other" / ".x.0123456789abcdef.tmp").write_text("half")
    found = differences(tmp_path / "one", tmp_path / "other")
    assert found == [".x.0123456789abcdef.tmp: left over", "history.json: missing"]
