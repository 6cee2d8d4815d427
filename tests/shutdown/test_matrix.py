"""The whole matrix: who is hit x five blows x six moments; and a short stress."""

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.faults.harness import REPOSITORY
from tests.shutdown.cells import ALL_CELLS, Outcome, Victim, random_cell, run_cell

# They wait far more than they compute.
AT_A_TIME = 4


@pytest.mark.ci
@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", Victim)
def test_nothing_is_left_lost_or_said_whoever_is_hit_whenever(victim: Victim, tmp_path: Path) -> None:
    cells = [cell for cell in ALL_CELLS if cell.victim is victim]

    def run(number: int) -> Outcome:
        folder = tmp_path / str(number)
        folder.mkdir()
        return run_cell(cells[number], folder)

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        outcomes = list(pool.map(run, range(len(cells))))
    assert [(str(outcome.cell), outcome.findings) for outcome in outcomes if outcome.findings] == []
    # During a stop a victim may have ended in order before it was hit; most are hit alive.
    assert sum(outcome.hit for outcome in outcomes) >= 0.8 * len(cells)


def test_a_seed_always_draws_the_same_cell() -> None:
    drawn = [random_cell(random.Random(f"7:{index}")) for index in range(50)]
    assert drawn == [random_cell(random.Random(f"7:{index}")) for index in range(50)]
    assert len(set(drawn)) > 40


@pytest.mark.ci
@pytest.mark.timeout(240)
def test_stress_script_finds_nothing_and_prints_its_table() -> None:
    command = [sys.executable, "-m", "tests.shutdown.stress", "--shutdowns", "30", "--minutes", "2"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout
    assert "30 shutdowns" in done.stdout
    assert ", 0 with findings" in done.stdout


def test_stress_reports_a_finding_with_the_command_that_repeats_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.shutdown import stress

    cell = random_cell(random.Random("0:3"))
    monkeypatch.setattr(stress, "run_cell", lambda cell, folder: Outcome(cell, ["left after 2 s: 1 sleep"]))
    monkeypatch.setattr(sys, "argv", ["stress", "--seed", "0", "--only", "3"])
    assert stress.main() == 1
    printed = capsys.readouterr().out
    assert str(cell) in printed
    assert "left after 2 s" in printed
    assert "--seed 0 --only 3" in printed
