"""How long a run takes to resume: from the start of its process to the end of its first step."""

import json
import time
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.training.launching import run_on_terminal, write_config
from benchmarks.training.workloads import write_pairs

_STOPPED = 75
_FOR_EVER = 10**9


@dataclass(frozen=True)
class Start:
    """The way of one process to its first step.

    Attributes:
        whole_s: from the start of the process to the end of its first step, seconds.
        imports_s: of these, in import statements.
        loaded_again: training datapoints that it loaded though a process before it had trained on them.
    """

    whole_s: float
    imports_s: float
    loaded_again: int = 0

    @property
    def beyond_imports_s(self) -> float:
        """What is left without the imports, seconds."""
        return self.whole_s - self.imports_s


def starts(workload: str, root: Path, *, rounds: int, threads: int) -> dict[str, list[Start]]:
    """First starts and resumes of a run, both to the end of the first step.

    Args:
        workload: a function of `workloads`.
        root: for the run directories.
        rounds: runs, each started and stopped after 3 steps, resumed and stopped after one.
        threads: of torch's operations.
    """
    found: dict[str, list[Start]] = {"first start": [], "resume": []}
    for number in range(rounds):
        folder = root / f"resume-{number}"
        folder.mkdir()
        write_config(folder / "run.py", f"{workload}()", folder / "run")
        found["first start"].append(_pylon(folder, steps=3, threads=threads))
        found["resume"].append(_pylon(folder, steps=1, threads=threads))
    return found


@dataclass(frozen=True)
class LongEpoch:
    """Resumes in an epoch of many datapoints.

    Attributes:
        datapoints: of the epoch.
        after: batches that had been trained on, near the start and near the end of the epoch.
        pylon: Pylon's resumes at these.
        by_hand: a loop that skips batches, at these.
    """

    datapoints: int
    after: tuple[int, int]
    pylon: list[Start]
    by_hand: list[Start]


def long_epoch(root: Path, *, datapoints: int, threads: int) -> LongEpoch:
    """Resume near the start and near the end of a long epoch.

    Args:
        root: for data and run directories.
        datapoints: of the epoch, in batches of 4.
        threads: of torch's operations.
    """
    batches = datapoints // 4
    after = (batches // 100, batches - batches // 100)
    folder = root / "long"
    folder.mkdir()
    write_pairs(folder, size=64)
    write_config(folder / "run.py", f"long_epoch(Path({str(folder)!r}), {datapoints})", folder / "run")
    _pylon(folder, steps=after[0], threads=threads)
    # The run resumed near the start continues to the place of the one near the end.
    pylon = [
        _pylon(folder, steps=after[1] - after[0], threads=threads),
        _pylon(folder, steps=1, threads=threads),
    ]
    order = _lines(folder / "loads.txt")
    by_hand = [_by_hand(folder, order[: 4 * done], done, threads=threads) for done in after]
    return LongEpoch(datapoints, after, pylon, by_hand)


def _by_hand(folder: Path, trained: list[str], done: int, *, threads: int) -> Start:
    (folder / "loads.txt").unlink()
    arguments = ["trainee", "skipped by hand", str(folder / "run.py"), "1", str(folder), str(done)]
    start = _launch(folder, _FOR_EVER, arguments, threads=threads, expected=0)
    return replace(start, loaded_again=_again(trained, _lines(folder / "loads.txt")))


def _pylon(folder: Path, *, steps: int, threads: int) -> Start:
    """Start or resume the run in `folder`, and stop it after so many steps."""
    before = _lines(folder / "loads.txt")
    # The rehearsal loads a batch and takes a step of its own, on copies: the hook of torch would count it.
    options = ["--device", "cpu", "--no-rehearsal"]
    arguments = ["main.py", "--config-filepath", str(folder / "run.py"), *options]
    start = _launch(folder, steps, arguments, threads=threads, expected=_STOPPED)
    return replace(start, loaded_again=_again(before, _lines(folder / "loads.txt")[len(before) :]))


def _lines(path: Path) -> list[str]:
    """What has been loaded, in order; nothing if the dataset does not report it."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _again(before: list[str], loads: list[str]) -> int:
    return (Counter(before) & Counter(loads)).total()


def _launch(folder: Path, steps: int, arguments: list[str], *, threads: int, expected: int) -> Start:
    noted = folder / "first_step.json"
    noted.unlink(missing_ok=True)
    begun_s = time.monotonic()
    run_on_terminal(
        ["-m", "benchmarks.training.timed_start", str(noted), str(steps), *arguments],
        {}, threads=threads, expected=expected,
    )  # fmt: skip
    content = json.loads(noted.read_text(encoding="utf-8"))
    return Start(content["first_step_s"] - begun_s, content["imports_s"])
