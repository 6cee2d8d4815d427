"""What an epoch, a save and a resume cost, early in a run and late: `python -m benchmarks.run_length`.

No run is trained for hours: the state after so many steps or epochs is made through the classes that a run
uses, and what follows is measured. Times are CPU time of this process (no waiting for the disk), bytes are
what it hands to the kernel to write (`wchar` of /proc/self/io).
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.monitors.tables import table
from benchmarks.surroundings import load, machine, versions
from pylon.data import fingerprint
from pylon.metrics import SemanticSegmentationMetric
from pylon.metrics.base_metric import Part
from pylon.runners.distributed import World
from pylon.runners.outputs.curves import draw_curves
from pylon.runners.outputs.losses import EpochLosses
from pylon.runners.outputs.step_log import StepLog
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import History
from pylon.runners.run_directory.resuming import resume
from pylon.runners.run_directory.retention import Retention
from pylon.runners.run_directory.saving import Saver
from pylon.runners.run_directory.snapshots import Results, capture

_SHARES = (0.01, 0.1, 1.0)
_EVERY_STEPS = 2000
_REPEATS = 5
_SCORE = "mean_iou"


@dataclass(frozen=True)
class Cost:
    """What one action takes.

    Attributes:
        cpu_s: CPU time, seconds.
        written: bytes.
    """

    cpu_s: float
    written: int

    def text(self, count: int = 1) -> str:
        """Milliseconds and kB, of each of `count` things."""
        return f"{1e3 * self.cpu_s / count:.3g} ms, {self.written / 1e3 / count:.3g} kB"


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, print. 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run_length", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of all numbers of steps, epochs, ... (1)")
    scale = parser.parse_args(arguments).scale
    begun_s = time.monotonic()
    print(machine(), versions(("torch",)), sep="\n")
    counts = {"steps": 1_000_000, "epochs": 10_000, "classes": 150, "datapoints": 100_000}
    scaled = {
        name: [max(2, round(share * scale * count)) for share in _SHARES] for name, count in counts.items()
    }
    model = torch.nn.Linear(100, 10)
    rows = [*_steps(scaled["steps"], model), *_epochs(scaled["epochs"], model)]
    rows += _long_run_of_classes(scaled["classes"][-1], max(10, round(100 * scale)), model)
    rows += [*_classes(scaled["classes"], model), *_datapoints(scaled["datapoints"], model)]
    print(f"\n{table(['', '1 %', '10 %', '100 %'], rows)}", flush=True)
    print(f"\n{table(['resume', 's'], _resumes(scaled['steps'][-1], scaled['datapoints'][-1], model))}")
    print(f"\n{time.monotonic() - begun_s:.0f} s in all; load average at the end {load()}")
    return 0


def _steps(counts: list[int], model: torch.nn.Module) -> Iterator[list[str]]:
    """A save in the middle of an epoch of a million steps."""
    for asynchronous in (False, True):
        cells = []
        for count in counts:
            with _run() as (root, stack):
                losses = EpochLosses(torch.rand(count, dtype=torch.float64).tolist())
                progress = Progress(global_step=count, step=count, losses_sha256=losses.sha256)
                saver = _saver(root, stack, progress, Checkpointing(asynchronous=asynchronous))
                losses.store(RunDirectory(root).running_losses(0), count)

                def save(
                    losses: EpochLosses = losses, progress: Progress = progress, saver: Saver = saver
                ) -> None:
                    saver.save(capture(progress, {"model": model}, losses))

                def step(losses: EpochLosses = losses, progress: Progress = progress) -> None:
                    losses.extend([0.5] * _EVERY_STEPS)
                    progress.step += _EVERY_STEPS
                    progress.global_step += _EVERY_STEPS

                cells.append(_measured(save, step, finish=saver.finish).text())
        how = "in a thread" if asynchronous else "at once"
        yield [f"save {how}, in an epoch of {_named(counts[-1])} steps, at step", *cells]


def _epochs(counts: list[int], model: torch.nn.Module) -> Iterator[list[str]]:
    """The end of an epoch of a run of 10,000, and what a launch reads and draws of it."""
    ends, launches, pictures = [], [], []
    with _run() as (root, _):
        score, done = {_SCORE: 0.5, "accuracy": 0.5}, 0
        for count in counts:
            with History(root / "history.jsonl", _SCORE) as history:
                for epoch in range(done, count):
                    history.add({"epoch": epoch, "global_step": epoch + 1, "validation": score})
                    folder = root / f"epoch_{epoch}"
                    folder.mkdir()
                    (folder / "training_losses.pt").touch()
                    (folder / "validation_scores.json").touch()
            progress = Progress(epoch=count, global_step=count, best_epoch=0, best_score=0.5)
            with ExitStack() as stack:
                opened: list[Saver] = []
                launch = _measured(
                    lambda p=progress, s=stack, o=opened: o.append(_saver(root, s, p)),  # type: ignore[misc]
                    repeats=1,
                )
                launches.append(launch.text())
                saver = opened[0]

                def end(progress: Progress = progress, saver: Saver = saver) -> None:
                    progress.step = progress.global_step = progress.global_step + 1
                    record = progress.finish_epoch({"training_loss": 0.5, "validation": score})
                    results = Results(record, {"aggregated": score})
                    saver.save(capture(progress, {"model": model}, EpochLosses([0.5]), results))

                ends.append(_measured(end).text())
            done = progress.epoch
            with History(root / "history.jsonl", _SCORE, done) as history:
                points = history.points.chosen()
                pictures.append(
                    _measured(
                        lambda p=points: draw_curves(root / "curves.png", p, _SCORE),  # type: ignore[misc]
                    ).text()
                )
    name = f"in a run of {_named(counts[-1])} epochs, at epoch"
    yield [f"end of an epoch {name}", *ends]
    yield [f"once per launch: look at the folders and the history, {name}", *launches]
    yield [f"draw `curves.png`, {name}", *pictures]


def _long_run_of_classes(classes: int, epochs: int, model: torch.nn.Module) -> Iterator[list[str]]:
    """The end of an epoch of 150 classes, early and late in a run of 100."""
    with _run() as (root, stack):
        progress = Progress()
        saver, end = _saver(root, stack, progress), _ended_epoch(progress, model, classes, 16)
        costs = []
        for count in (round(share * epochs) for share in _SHARES):
            while progress.epoch < count - 1:
                end(saver)
            costs.append(_measured(lambda: end(saver), repeats=1).text())
    yield [f"end of an epoch with {classes} classes, of {epochs} epochs at epoch", *costs]


def _classes(counts: list[int], model: torch.nn.Module) -> Iterator[list[str]]:
    """The end of an epoch by the number of classes."""
    costs = []
    for count in counts:
        with _run() as (root, stack):
            progress = Progress()
            saver, end = _saver(root, stack, progress), _ended_epoch(progress, model, count, 16)
            costs.append(_measured(lambda end=end, saver=saver: end(saver)))  # type: ignore[misc]
    yield [f"end of an epoch with so many of {counts[-1]} classes", *(one.text() for one in costs)]
    per_class = zip(costs, counts, strict=True)
    yield ["the same, of each class", *(one.text(count) for one, count in per_class)]


def _datapoints(counts: list[int], model: torch.nn.Module) -> Iterator[list[str]]:
    """The end of an epoch by the number of validated datapoints."""
    costs = []
    for count in counts:
        with _run() as (root, stack):
            progress = Progress()
            saver, end = _saver(root, stack, progress), _ended_epoch(progress, model, 2, count)
            costs.append(_measured(lambda end=end, saver=saver: end(saver)))  # type: ignore[misc]
    name = f"end of an epoch with so many of {_named(counts[-1])} datapoints"
    yield [name, *(one.text() for one in costs)]
    per_datapoint = zip(costs, counts, strict=True)
    yield ["the same, of each datapoint", *(one.text(count) for one, count in per_datapoint)]


def _ended_epoch(
    progress: Progress, model: torch.nn.Module, classes: int, datapoints: int
) -> Callable[[Saver], None]:
    """What scores a validation and saves the epoch, as the training loop does."""
    metric = SemanticSegmentationMetric(classes)
    counts = torch.randint(1, 100, (datapoints, classes, classes))
    metric.merge([Part(list(range(datapoints)), list(range(datapoints)), counts)])

    def end(saver: Saver) -> None:
        summary, baselines = metric.summarize(), metric.baselines()
        progress.step = progress.global_step = progress.global_step + 1
        progress.judge(summary["aggregated"][_SCORE], "higher")
        leading = {name: {_SCORE: scores[_SCORE]} for name, scores in baselines.items()}
        record = progress.finish_epoch(
            {"training_loss": 0.5, "validation": summary["aggregated"], "baselines": leading}
        )
        saver.save(capture(progress, {"model": model}, EpochLosses([0.5]), Results(record, summary)))

    return end


def _resumes(steps: int, datapoints: int, model: torch.nn.Module) -> Iterator[list[str]]:
    """A launch that resumes at the last of a million steps, beyond its imports."""
    with _run() as (root, stack):
        directory = RunDirectory(root)
        losses = EpochLosses(torch.rand(steps, dtype=torch.float64).tolist())
        progress = Progress(global_step=steps, step=steps)
        _saver(root, stack, progress).save(capture(progress, {"model": model}, losses))
        rest = '"learning_rate": 0.001, "step_time_s": 0.012345'
        with directory.metrics.open("w") as file:
            for step, loss in enumerate([*losses.values(), 0.5]):
                place = f'"epoch": 0, "step": {step}, "global_step": {step}'
                file.write(f'{{{place}, "loss": {json.dumps(loss)}, {rest}}}\n')
        megabytes = directory.metrics.stat().st_size / 1e6
        begun_s = time.perf_counter()
        found = resume(directory, World(), {"model": model}, {}, lambda: None)
        taken_s = time.perf_counter() - begun_s
        if found is None or len(found.losses) != steps:
            raise RuntimeError(f"{root}: resumed from {found}, expected a moment after {steps} steps")
        yield [f"after {_named(steps)} lines of `metrics.jsonl` ({megabytes:.0f} MB)", f"{taken_s:.2f}"]
    names = [f"folder/image_{number:08}.png" for number in range(datapoints)]
    begun_s = time.perf_counter()
    fingerprint.fingerprint(names, Path("data"))
    yield [f"fingerprint of {_named(datapoints)} datapoints", f"{time.perf_counter() - begun_s:.2f}"]


@contextmanager
def _run() -> Iterator[tuple[Path, ExitStack]]:
    with tempfile.TemporaryDirectory(prefix="pylon-") as folder, ExitStack() as stack:
        yield Path(folder), stack


def _saver(
    root: Path, stack: ExitStack, progress: Progress, checkpointing: Checkpointing | None = None
) -> Saver:
    """What a launch that resumes from this moment saves with."""
    directory = RunDirectory(root)
    log = stack.enter_context(StepLog(directory.metrics, 10))
    history = stack.enter_context(History(directory.history, _SCORE, progress.epoch))
    checkpointing = checkpointing or Checkpointing()
    return Saver(
        directory, log, history, retention=Retention(), direction="higher", checkpointing=checkpointing,
        resumed=progress,
    )  # fmt: skip


def _measured(
    action: Callable[[], object],
    before: Callable[[], object] = lambda: None,
    finish: Callable[[], object] = lambda: None,
    repeats: int = _REPEATS,
) -> Cost:
    """The median of several times, each with `before` before it; `finish` counts for what is written."""
    times, written = [], []
    for _ in range(repeats):
        before()
        begun, bytes_before = time.thread_time(), _written()
        action()
        times.append(time.thread_time() - begun)
        finish()
        written.append(_written() - bytes_before)
    return Cost(statistics.median(times), round(statistics.median(written)))


def _written() -> int:
    rows = dict(row.split(": ") for row in Path("/proc/self/io").read_text().splitlines())
    return int(rows["wchar"])


def _named(count: int) -> str:
    return f"{count:,}"


if __name__ == "__main__":
    sys.exit(main())
