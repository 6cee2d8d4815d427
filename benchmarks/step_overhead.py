"""What Pylon adds to a training step: CPU and wall time beside a hand-written PyTorch loop.

    python -m benchmarks.step_overhead [--rounds 5] [--steps 60]

Both train the same model on the same batches, each in a process of its own, in alternating rounds
so that a slow minute of the machine hits both. The instrument is the same too: the criterion notes
the time at every call, and from one call to the next lies one whole step. CPU time decides, as wall
time on a shared machine swings; the monitors' own processes are counted beside the training process.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import torch

from configs.benchmarks.change_detection.demo.HANet_run_0 import config as demo
from runners.config import build, load_config

_WARM_UP_STEPS = 3
_REPOSITORY = Path(__file__).resolve().parent.parent


class MeasuredCriterion(torch.nn.Module):
    """A criterion that notes the time of each call: wall, CPU of this process, CPU of its children.

    Args:
        criterion: what computes the loss.
        output_path: one JSON line per call is appended here.
        steps: calls that count. Only at the first and the last of them are the children asked, as
            walking them costs about a millisecond of this process's CPU time.
    """

    def __init__(self, criterion: torch.nn.Module, output_path: str, steps: int) -> None:
        super().__init__()
        self.criterion = criterion
        self.process = psutil.Process()
        self.calls = 0
        self.ask_children_at = {_WARM_UP_STEPS, steps - 1}
        self.file = Path(output_path).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115

    def forward(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The criterion's loss."""
        asked = self.calls in self.ask_children_at
        children_s = _cpu_s(self.process.children(recursive=True)) if asked else None
        self.calls += 1
        self.file.write(json.dumps([time.perf_counter(), time.process_time(), children_s]) + "\n")
        loss: torch.Tensor = self.criterion(logits, target)
        return loss


def measured_config(output_path: Path, work_dir: Path, steps: int) -> dict[str, Any]:
    """The demo's configuration for one epoch of `steps` steps with the measuring criterion."""
    criterion = {
        "class": MeasuredCriterion,
        "args": {"criterion": demo["criterion"], "output_path": str(output_path), "steps": steps},
    }
    runner = {**demo["runner"], "args": {**demo["runner"]["args"], "max_batches_per_epoch": steps}}
    return {**demo, "work_dir": str(work_dir), "epochs": 1, "runner": runner, "criterion": criterion}


def hand_written_loop(config: dict[str, Any], steps: int) -> None:
    """The loop that a tutorial shows: no log, no monitor, no checkpoint."""
    torch.manual_seed(0)
    model = build(config["model"])
    criterion = build(config["criterion"])
    optimizer = build(config["optimizer"], params=model.parameters())
    loader = build(config["train_dataloader"], dataset=build(config["train_dataset"]))
    model.train()
    for number, batch in enumerate(loader):
        if number == steps:
            return
        optimizer.zero_grad()
        loss = criterion(model(**batch["inputs"]), batch["labels"]["change_map"])
        loss.backward()
        optimizer.step()


def pylon(config_path: Path) -> None:
    """The same steps as a user runs them."""
    command = [sys.executable, "main.py", "--config-filepath", str(config_path), "--device", "cpu"]
    subprocess.run(command, cwd=_REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def per_step(marks_path: Path, steps: int) -> tuple[float, float, float]:
    """Median wall, and mean CPU of the process and of its children, seconds per step after the warm-up."""
    marks = [json.loads(line) for line in marks_path.read_text(encoding="utf-8").splitlines()][
        _WARM_UP_STEPS:steps
    ]
    first, last, count = marks[0], marks[-1], len(marks) - 1
    wall_s = statistics.median(after[0] - before[0] for before, after in itertools.pairwise(marks))
    return wall_s, (last[1] - first[1]) / count, (last[2] - first[2]) / count


def main() -> None:
    """Measure in alternating rounds and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--hand-written", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.hand_written is not None:
        hand_written_loop(load_config(options.hand_written), options.steps)
        return
    with tempfile.TemporaryDirectory() as folder:
        rows = [_round(Path(folder) / str(number), options.steps) for number in range(options.rounds)]
    _print_table(rows, options)


def _round(folder: Path, steps: int) -> dict[str, tuple[float, float, float]]:
    folder.mkdir()
    measured = {}
    for name in ("hand-written loop", "Pylon, monitors on"):
        marks = folder / f"{name}.jsonl"
        config_path = folder / "config_file.py"
        config_path.write_text(
            "from pathlib import Path\n"
            "from benchmarks.step_overhead import measured_config\n"
            f"config = measured_config(Path({str(marks)!r}), Path({str(folder / 'run')!r}), {steps})\n",
            encoding="utf-8",
        )
        if name == "hand-written loop":
            command = [sys.executable, "-m", "benchmarks.step_overhead", "--hand-written", str(config_path)]
            subprocess.run([*command, "--steps", str(steps)], cwd=_REPOSITORY, check=True)
        else:
            pylon(config_path)
        measured[name] = per_step(marks, steps)
    return measured


def _print_table(rows: list[dict[str, tuple[float, float, float]]], options: argparse.Namespace) -> None:
    print(f"{options.rounds} alternating rounds of {options.steps} steps on {os.cpu_count()} cores")
    print("milliseconds per step, median [min..max]")
    print(f"{'':22} {'wall':>26} {'CPU, training process':>26} {'CPU, monitor processes':>26}")
    for name in rows[0]:
        cells = [_spread([row[name][column] * 1000 for row in rows]) for column in range(3)]
        print(f"{name:22} {cells[0]:>26} {cells[1]:>26} {cells[2]:>26}")
    hand, ours = ([row[name] for row in rows] for name in rows[0])
    for label, cost in (("CPU, all processes", lambda row: row[1] + row[2]), ("wall", lambda row: row[0])):
        ratios = [cost(our) / cost(their) for our, their in zip(ours, hand, strict=True)]
        print(f"ratio of {label}: {_spread(ratios, 3)}")


def _spread(values: list[float], digits: int = 1) -> str:
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}..{max(values):.{digits}f}]"


def _cpu_s(processes: list[psutil.Process]) -> float:
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


if __name__ == "__main__":
    main()
