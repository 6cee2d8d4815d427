"""The benchmark of training in its tiny form prints its tables, and refuses to compare what is not equal."""

import copy
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.training import __main__ as command
from benchmarks.training import steps
from benchmarks.training.contenders import CONTENDERS, Contender
from benchmarks.training.stopwatch import TIMES, Times, WatchedModel
from benchmarks.training.workloads import SmallModel

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[2]


def quick(*parts: str) -> dict[str, list[list[str]]]:
    """The rows of each table of a tiny run, by the beginning of its heading."""
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.training", "--quick", "--parts", *parts],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout
    tables: dict[str, list[list[str]]] = {}
    for line in ran.stdout.splitlines():
        if line.startswith("### "):
            rows = tables.setdefault(re.split("[:,]| in the ", line.removeprefix("### "))[0], [])
        elif line.startswith("| "):
            rows.append(line.strip("| ").split(" | "))
    return tables


@pytest.mark.timeout(300)
def test_steps_are_timed_beside_the_peers_that_are_there_with_equal_losses() -> None:
    tables = quick("steps")
    _, _, *rows = tables["Time per step"]
    assert [row[0] for row in rows] == [one.title for one in CONTENDERS.values() if one.available]
    assert all(float(row[1].split()[0]) > 0 for row in rows)
    assert all(float(row[-1]) <= steps.TOLERANCE for row in rows)
    assert [row[0].partition(": ")[2] for row in tables["Summary"][2:]] == [
        "CPU time",
        "CPU time with that of its other processes",
        "wall time",
    ]


def test_step_of_a_copy_as_in_the_rehearsal_is_not_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(TIMES, str(tmp_path / "times.json"))
    images = torch.rand(1, 3, 4, 4)
    model = WatchedModel(SmallModel(2), steps=3).train()
    for one in (copy.deepcopy(model), model, model, model):
        optimizer = torch.optim.SGD(one.parameters(), lr=0.1)
        one(images, images).mean().backward()
        assert not (tmp_path / "times.json").exists()
        optimizer.step()
    times = Times.read(tmp_path / "times.json")
    assert (len(times.whole_s), len(times.between_s)) == (2, 2)
    assert all(0 < between <= whole for between, whole in zip(times.between_s, times.whole_s, strict=True))


@pytest.mark.timeout(300)
def test_checkpoints_are_timed_each_way() -> None:
    tables = quick("checkpoints")
    _, _, *rows = tables["Standing still at a save"]
    assert [row[0].partition(",")[2] for row in rows] == [" by hand", " synchronous", " asynchronous"]
    for row in rows:
        assert all(re.fullmatch(r"-?\d+\.\d \[-?\d+\.\d\.\.-?\d+\.\d\]", row[column]) for column in (1, 4))
        assert all(re.fullmatch(r"-?\d+\.\d+%", row[column]) for column in (2, 3, 5))


@pytest.mark.timeout(300)
def test_resumes_are_timed_and_what_they_load_is_counted() -> None:
    tables = quick("resume", "mid-epoch")
    _, _, *starts = tables["To the end of the first step"]
    assert [row[0] for row in starts] == ["first start", "resume"]
    for row in starts:
        whole_s, imports_s, beyond_s = (float(cell.split()[0]) for cell in row[1:])
        assert whole_s > imports_s > 0
        assert abs(whole_s - imports_s - beyond_s) < 0.02
    _, _, *rows = tables["Going on"]
    counts = [(row[0], int(row[1]), int(row[2])) for row in rows]
    assert counts == [
        ("Pylon", 1, 0),
        ("Pylon", 99, 0),
        ("skipping batches by hand", 1, 4),
        ("skipping batches by hand", 99, 396),
    ]


class OtherRate(Contender):
    """Trains with a learning rate of its own."""

    def command(self, name: str, config: Path, steps: int, folder: Path) -> list[str]:
        text = config.read_text(encoding="utf-8")
        config.write_text(text + 'config["optimizer"] = {**config["optimizer"], "args": {"lr": 0.1}}\n')
        return super().command("hand-written", config, steps, folder)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            OtherRate("other rate", "", None, CONTENDERS["hand-written"].logged),
            r"losses of other rate and of hand-written loop differ by \d",
        ),
        (
            Contender("half", "", None, lambda folder: CONTENDERS["hand-written"].logged(folder)[::2]),
            r"half logged 38 losses for 76 steps",
        ),
    ],
)
def test_contenders_that_do_not_do_the_same_are_not_compared(
    other: Contender, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"hand-written": CONTENDERS["hand-written"], "Pylon's data": other}
    for module in (steps, command):
        monkeypatch.setattr(module, "CONTENDERS", names)
    assert command.main(["--quick", "--parts", "steps"]) == 1
    assert re.search(said, capsys.readouterr().err)
