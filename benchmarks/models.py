"""One training step of a model at full width: CPU time, wall time and memory, next to the authors' HANet.

    python -m benchmarks.models [--models HANet FCEF] [--authors FOLDER] [--rounds 3] [--pairs 2]
                                [--size 256] [--threads 2] [--device cpu] [--busy 0]
                                [--profile]

FOLDER is a checkout of the authors' code (github.com/ChengxiHAN/HANet-CD); nothing of it is changed, and
its weights are given to ours, with the published energy, to compare the logits. Each contender is a process
of its own, and they take turns: what else the machine does meets all alike. The figures are the fastest
round's; memory is the highest resident set less the one before the first step, and on a GPU (`--device
cuda`, with deterministic kernels as in a run) what torch had allocated at most.
"""

import argparse
import contextlib
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks.authors import AUTHORS_FILE, AuthorsModel, difference
from pylon import models
from pylon.runners.allocator import keep_freed_memory
from pylon.runners.randomness import deterministic_kernels
from pylon.runners.training.strict_backward import StrictBackward

_AUTHORS = "authors"
# Whether in bfloat16, and whether memory is kept: the authors' code as its script runs it, and with ours.
_OF_AUTHORS, _OF_OURS = ((False, False), (False, True)), ((False, True), (True, True))
_ON_GPU = ((False, False), (True, False))


@dataclass(frozen=True)
class Subject:
    """One way to compute a step.

    Attributes:
        model: a class of `pylon.models`, or 'authors'.
        bfloat16: under autocast.
        authors: folder of the authors' code; None: not wanted.
        pairs, size, threads: of each step.
        device: 'cpu' or 'cuda'.
        keeps_memory: that it frees, as the process of a run on the CPU does.
    """

    model: str
    bfloat16: bool
    authors: Path | None
    pairs: int
    size: int
    threads: int
    device: str
    keeps_memory: bool = True

    @property
    def label(self) -> str:
        """For the table."""
        words = [self.model, "bfloat16" if self.bfloat16 else "float32"]
        if self.model == _AUTHORS and self.keeps_memory:
            words.append("memory kept")
        return ", ".join(words)


@dataclass(frozen=True)
class Step:
    """Seconds of the processor and of the clock, and bytes, of a step."""

    cpu_s: float
    wall_s: float
    memory: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--models", nargs="+", default=["HANet"])
    parser.add_argument("--authors", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=2)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--busy", type=int, default=0, help="processes that want the cores too")
    parser.add_argument("--profile", action="store_true", help="operations of one step, by time")
    options = parser.parse_args()
    if options.authors and not (options.authors / AUTHORS_FILE).is_file():
        parser.error(f"--authors {options.authors}: expected a checkout with {AUTHORS_FILE} in it")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} finds no GPU here")
    names = [*([_AUTHORS] if options.authors else []), *options.models]
    subjects = [
        Subject(
            name,
            bfloat16,
            options.authors,
            options.pairs,
            options.size,
            options.threads,
            options.device,
            keeps,
        )
        for name in names
        for bfloat16, keeps in _ways(name, options.device)
    ]
    if options.authors:
        _write(f"Logits against the authors' in float64, relative: {difference(options.authors):.1e}")
    if options.profile:
        for subject in subjects:
            _write(f"\n{subject.label}\n{_operations(subject)}")
        return
    with _busy(options.busy):
        steps = _in_turns(subjects, options.rounds)
    _write("| step | CPU, s | wall, s | memory, MiB |\n|---|---|---|---|")
    for subject in subjects:
        best = min(steps[subject], key=lambda step: step.cpu_s)
        _write(f"| {subject.label} | {best.cpu_s:.3f} | {best.wall_s:.3f} | {best.memory / 2**20:.0f} |")


def _ways(model: str, device: str) -> tuple[tuple[bool, bool], ...]:
    """Whether in bfloat16, and whether memory is kept; a GPU's memory torch keeps for all."""
    if model != _AUTHORS:
        return _OF_OURS
    return _OF_AUTHORS if device == "cpu" else _ON_GPU


@contextlib.contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that compute without a pause, as other users of the machine do."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.wait()


def _in_turns(subjects: list[Subject], rounds: int) -> dict[Subject, list[Step]]:
    context = multiprocessing.get_context("spawn")
    steps: dict[Subject, list[Step]] = {subject: [] for subject in subjects}
    with contextlib.ExitStack() as stack:
        ends: dict[Subject, Connection] = {}
        for subject in subjects:
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(subject, theirs))
            process.start()
            theirs.close()
            stack.callback(process.join)
            stack.callback(ours.close)
            ends[subject] = ours
        # The first one of each makes what later ones find: kernels, memory.
        for number in range(rounds + 1):
            for subject, end in ends.items():
                end.send(None)
                step = end.recv()
                if number:
                    steps[subject].append(step)
    return steps


def _serve(subject: Subject, connection: Connection) -> None:
    """Compute one step for each message."""
    model, batch = _prepared(subject)
    before = _forget_highest_memory(subject)
    with contextlib.suppress(EOFError):
        while True:
            connection.recv()
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            _compute(subject, model, batch)
            connection.send(
                Step(
                    time.process_time() - cpu_s,
                    time.perf_counter() - wall_s,
                    _highest_memory(subject) - before,
                )
            )


def _prepared(subject: Subject) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """Its model and batch, in this process as it wants it."""
    torch.set_num_threads(subject.threads)
    if subject.keeps_memory and subject.device == "cpu":
        keep_freed_memory()
    model, batch = _model(subject), _batch(subject)
    return model.to(subject.device), tuple(one.to(subject.device) for one in batch)


def _compute(subject: Subject, model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> None:
    img_1, img_2, label = batch
    with deterministic_kernels(subject.device == "cuda"):
        with torch.autocast(subject.device, dtype=torch.bfloat16, enabled=subject.bfloat16):
            logits = model(img_1, img_2)
        model.zero_grad()
        loss = functional.cross_entropy(logits.float(), label)
        # A run's backward passes are strict about it; the authors' model has none to choose from.
        with StrictBackward(wanted=subject.model != _AUTHORS).mode():
            loss.backward()
    if subject.device == "cuda":
        torch.cuda.synchronize()


def _model(subject: Subject) -> torch.nn.Module:
    torch.manual_seed(0)
    if subject.model == _AUTHORS and subject.authors is not None:
        return AuthorsModel(subject.authors).train()
    model: torch.nn.Module = getattr(models, subject.model)()
    return model.train()


def _batch(subject: Subject) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    size = (subject.size, subject.size)
    img_1, img_2 = torch.randn(2, subject.pairs, 3, *size)
    return img_1, img_2, torch.randint(0, 2, (subject.pairs, *size))


def _operations(subject: Subject) -> str:
    model, batch = _prepared(subject)
    _compute(subject, model, batch)
    on_gpu = subject.device == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities, record_shapes=on_gpu) as profiled:
        _compute(subject, model, batch)
    if not on_gpu:
        return profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=15)
    # Of a GPU the sizes too: which of the convolutions it is cannot be seen otherwise.
    return profiled.key_averages(group_by_input_shape=True).table(
        sort_by="self_device_time_total", row_limit=60, max_name_column_width=60, max_shapes_column_width=110
    )


def _forget_highest_memory(subject: Subject) -> int:
    """Bytes in use now, of which the highest number is counted from now on (proc_pid_clear_refs(5))."""
    if subject.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _highest_memory(subject: Subject) -> int:
    """Bytes that were in use at once. getrusage(2) would count the parent process's too."""
    return torch.cuda.max_memory_allocated() if subject.device == "cuda" else _memory("VmHWM")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
