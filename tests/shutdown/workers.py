"""Loader workers that are killed or stopped: `python -m tests.shutdown.workers --minutes M --seed S`.

Each trial draws what the batches hold, how the workers are started, and when one of them is hit. The epoch
has to end, with its last batch or a LoaderWorkerError, and no process may be left. A trial that hangs is
ended with the stacks of its threads; --only repeats one.

exit codes: 0 nothing was found, 1 something was, 2 the command line is wrong
"""

import argparse
import contextlib
import faulthandler
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import torch
from torch.utils.data._utils import pin_memory

from pylon.data import DataLoader, LoaderWorkerError

_DATAPOINTS, _EPOCHS = 40, 3
_HANGS_AFTER_S = 60.0
# A stopped worker is given timeout_s, and torch looks up each second.
_MOST_S = 15.0
_STARTED_WITHIN_S = 10.0
_FINISHED, _TOLD = "finished", "LoaderWorkerError"


class Batches:
    """Datapoints of one kind.

    Args:
        kind: 'texts', some of which do not fit into a pipe; 'tensors', of one of three sizes; 'parts': many
            small tensors in each.
        seed: which sizes.
    """

    KINDS = ("texts", "tensors", "parts")

    def __init__(self, kind: str, seed: int) -> None:
        self.kind = kind
        self.seed = seed
        # More than a pipe takes: a worker that is not forked can die before it has read all of it.
        self.ballast = "x" * 200_000

    def __len__(self) -> int:
        return _DATAPOINTS

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = random.Random(f"{self.seed}:{index}")
        time.sleep(0.004 * generator.random())
        if self.kind == "texts":
            return {"text": "x" * generator.choice([10, 3_000, 70_000, 1_000_000])}
        if self.kind == "tensors":
            return {"tensor": torch.zeros((4, 1_000, 300_000)[self.seed % 3])}
        return {f"part {number}": torch.zeros(3) for number in range(60)}


@dataclass(frozen=True)
class Trial:
    """What is loaded, how, and which signal hits one of the workers when."""

    kind: str
    num_workers: int
    persistent: bool
    pinned: bool
    prefetch: int
    start_method: str
    number: signal.Signals
    delay_s: float


@dataclass(frozen=True)
class Outcome:
    """How the epochs ended, so many seconds after the hit (None: nothing was hit), and what was left."""

    end: str
    after_s: float | None
    left: int


def draw(seed: int, index: int) -> Trial:
    """Trial `index` of `seed`: always the same."""
    generator = random.Random(f"{seed}:{index}")
    return Trial(
        generator.choice(Batches.KINDS),
        generator.choice([1, 2, 3]),
        generator.choice([True, False]),
        generator.choice([True, False]),
        generator.choice([1, 2, 4]),
        generator.choice(["fork"] * 8 + ["forkserver", "spawn"]),
        generator.choice([signal.SIGKILL] * 5 + [signal.SIGSTOP]),
        generator.choice([0.02, 0.3]) * generator.random(),
    )


def run(trial: Trial, seed: int) -> Outcome:
    """Load the epochs, and hit a worker meanwhile."""
    stopped = trial.number is signal.SIGSTOP
    loader = DataLoader(
        Batches(trial.kind, seed), batch_size=2, num_workers=trial.num_workers, pin_memory=trial.pinned,
        persistent_workers=trial.persistent, prefetch_factor=trial.prefetch,
        multiprocessing_context=trial.start_method, timeout_s=1.0 if stopped else None,
    )  # fmt: skip
    hits: list[float] = []
    hitting = threading.Thread(target=_hit, args=(trial, seed, hits))
    hitting.start()
    end = _FINISHED
    try:
        for _ in range(_EPOCHS):
            for _ in loader:
                time.sleep(0.001)
    except Exception as error:  # noqa: BLE001 - which one is what is tried
        end = type(error).__name__ if isinstance(error, LoaderWorkerError) else repr(error)
    hitting.join()
    loader.close()
    after_s = time.monotonic() - hits[0] if hits else None
    return Outcome(end, after_s, sum(one.is_alive() for one in multiprocessing.active_children()))


def _hit(trial: Trial, seed: int, hits: list[float]) -> None:
    until_s = time.monotonic() + _STARTED_WITHIN_S
    while not multiprocessing.active_children() and time.monotonic() < until_s:
        time.sleep(0.001)
    time.sleep(trial.delay_s)
    workers = multiprocessing.active_children()
    if not workers:
        return
    worker = random.Random(seed).choice(workers)
    with contextlib.suppress(ProcessLookupError):
        os.kill(worker.pid or 0, trial.number)
        hits.append(time.monotonic())


def wrong(outcome: Outcome) -> str:
    """What must not be; '' if all is right."""
    if outcome.end not in (_FINISHED, _TOLD):
        return f"ended with {outcome.end}, expected the last batch or {_TOLD}"
    if outcome.end == _TOLD and outcome.after_s is None:
        return f"{_TOLD}, although no worker was hit"
    if outcome.after_s is not None and outcome.after_s > _MOST_S:
        return f"ended {outcome.after_s:.1f} s after the hit, expected at most {_MOST_S:g}"
    if outcome.left:
        return f"{outcome.left} workers are left"
    return ""


def begin_to_pin_memory(replace: Callable[[Any, str, object], None]) -> None:
    """Let torch start its thread that pins memory where there is no accelerator, without the copy.

    Args:
        replace: as `setattr`.
    """
    replace(torch.accelerator, "is_available", lambda: True)
    replace(torch.accelerator, "current_device_index", lambda: 0)
    replace(torch.accelerator, "set_device_index", lambda _: None)
    replace(torch.accelerator, "current_accelerator", lambda *_, **__: torch.device("cpu"))
    replace(pin_memory, "pin_memory", lambda data, device=None: data)


@contextlib.contextmanager
def _errors_collected() -> Iterator[IO[bytes]]:
    """What this process and its workers write to standard error goes into a file for the block."""
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file, os.fdopen(os.dup(2), "w") as real:
        os.dup2(file.fileno(), 2)
        try:
            yield file
        finally:
            faulthandler.cancel_dump_traceback_later()
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            real.write(file.read().decode("utf-8", "replace"))


def main(arguments: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    options = _parser().parse_args(arguments)
    seed, first = options.only or (options.seed, 0)
    if not torch.accelerator.is_available():
        begin_to_pin_memory(setattr)
    until_s = time.monotonic() + 60 * options.minutes
    findings, ends, slowest_s = [], Counter[str](), 0.0
    with warnings.catch_warnings(), _errors_collected() as errors, os.fdopen(os.dup(1), "w") as stacks:
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        index = first
        while True:
            trial = draw(seed, index)
            _say(f"{seed}:{index} {trial}")
            faulthandler.dump_traceback_later(_HANGS_AFTER_S, exit=True, file=stacks)
            outcome = run(trial, seed + index)
            ends[outcome.end] += 1
            slowest_s = max(slowest_s, outcome.after_s or 0.0)
            if finding := wrong(outcome):
                findings.append(f"--only {seed}:{index}: {finding}")
            index += 1
            if options.only or time.monotonic() > until_s:
                break
        if size := os.fstat(errors.fileno()).st_size:
            findings.append(f"{size} bytes on standard error, expected none")
    if not options.only and not ends[_TOLD]:
        findings.append("no hit took effect")
    _say(f"\n{sum(ends.values())} trials: {dict(ends)}; at most {slowest_s:.1f} s from the hit to the end")
    _say("\n".join(findings) or "no finding")
    return 1 if findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.workers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=_named, metavar="SEED:INDEX", help="this trial alone")
    return parser


def _named(text: str) -> tuple[int, int]:
    seed, _, index = text.partition(":")
    return int(seed), int(index)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
