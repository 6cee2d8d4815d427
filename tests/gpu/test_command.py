"""The command: what counts as passed, and that a part which hangs, dies or breaks fails alone."""

import os
import time
from pathlib import Path

import pytest

from tests.gpu.__main__ import exit_code, in_own_process, main, why_skipped
from tests.gpu.outcomes import FAILED, PASSED, SKIPPED, Machine, Result, Setting
from tests.gpu.parts import PARTS

NO_GPU = Machine("torch finds no device", [], [], [], "none")
ONE_GPU = Machine(None, ["GPU-1"], ["one"], [2**30], "none")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    folder = tmp_path / "part"
    folder.mkdir()
    return Setting("cuda", True, 1, 60, None, str(folder), ONE_GPU)


@pytest.mark.parametrize(
    ("function", "outcome", "figure", "failure"),
    [
        ("find_nothing_wrong", PASSED, "all is well", None),
        ("find_a_fault", FAILED, "all is not well", "one is two"),
        ("skip", SKIPPED, "the moon is full", None),
        ("break_off", FAILED, "ended with exit code 1", "illegal memory access"),
        ("die", FAILED, "ended with exit code -11", "the part ended"),
    ],
)
def test_end_of_a_part(
    setting: Setting, function: str, outcome: str, figure: str, failure: str | None
) -> None:
    result = in_own_process("name", f"ends:{function}", setting)
    assert (result.part, result.outcome, result.figure) == ("name", outcome, figure)
    assert result.failures == [] if failure is None else failure in result.failures[0]


def test_part_finds_what_this_process_finds_by_its_search_path(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "of_a_cluster.py").write_text("FIGURE = 'found'\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = in_own_process("name", "ends:use_the_search_path", setting)
    assert (result.outcome, result.figure) == (PASSED, "found"), result.failures


def test_part_that_hangs_fails_and_leaves_no_process(setting: Setting, tmp_path: Path) -> None:
    quick = Setting(**{**vars(setting), "seconds": 3.0})
    result = in_own_process("name", "ends:hang", quick)
    assert (result.outcome, result.figure) == (FAILED, "did not end within 3 s")
    child = int((tmp_path / "child.txt").read_text())
    until = time.monotonic() + 10
    while _runs(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _runs(child)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([PASSED], 0),
        ([PASSED, SKIPPED], 0),
        ([PASSED, FAILED], 1),
        ([FAILED, SKIPPED], 1),
        ([SKIPPED], 3),
        ([], 3),
    ],
)
def test_exit_code(outcomes: list[str], code: int) -> None:
    assert exit_code([Result("name", outcome, "", 0.0) for outcome in outcomes]) == code


def test_each_part_that_needs_a_gpu_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.gpu.__main__.no_driver", lambda: "no NVIDIA driver")
    for name, part in PARTS.items():
        expected = "no NVIDIA driver" if part.needs == "driver" else "no CUDA: torch finds no device"
        assert why_skipped(name, "cuda", NO_GPU) == expected
        assert (why_skipped(name, "cpu", NO_GPU) is None) is (part.needs == "device")
        assert (why_skipped(name, "cuda", ONE_GPU) is None) is (part.needs != "driver")


def test_nothing_is_passed_on_a_machine_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.gpu.__main__.no_driver", lambda: "no NVIDIA driver")
    monkeypatch.setattr("tests.gpu.__main__.ask_torch", lambda: NO_GPU)
    assert main([]) == 3
    printed = capsys.readouterr().out
    assert "| kills | skipped | no CUDA: torch finds no device | 0 |" in printed
    assert f"0 passed, 0 FAILED, {len(PARTS)} skipped" in printed


def test_part_without_time_left_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tests.gpu.__main__.ask_torch", lambda: ONE_GPU)
    assert main(["--minutes", "0", "--parts", "kills"]) == 1
    assert "kills: run it alone: --parts kills" in capsys.readouterr().out
