"""One training step of a model at full width: CPU time, wall time and memory, next to the authors' HANet.

    python -m benchmarks.models [--models HANet FCEF] [--authors FOLDER] [--rounds 3] [--pairs 2]
                                [--size 256] [--threads 2] [--profile]

FOLDER is a checkout of the authors' code (github.com/ChengxiHAN/HANet-CD); nothing of it is changed, and
its weights are given to ours, with the published energy, to compare the logits. Each contender is a process
of its own, and they take turns: what else the machine does meets all alike. The figures are the fastest
round's; memory is the highest resident set less the one before the first step.
"""

import argparse
import contextlib
import importlib.util
import io
import multiprocessing
import re
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from pylon import models
from pylon.runners.allocator import keep_freed_memory

_AUTHORS = "authors"
_AUTHORS_FILE = Path("models", "HANet.py")
# Whether in bfloat16, and whether memory is kept: the authors' code as its script runs it, and with ours.
_OF_AUTHORS, _OF_OURS = ((False, False), (False, True)), ((False, True), (True, True))
# Their names to ours, each to be tried in order.
_NAMES = (
    (r"^conv0_0\.", "encoder.stem."),
    (r"^conv([0245])\.conv1\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.convolution."),
    (r"^conv([0245])\.bn1\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.0."),
    (r"^conv([0245])\.conv2\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.2."),
    (r"^conv([0245])\.bn2\.", lambda found: f"encoder.cells.{'0245'.index(found[1])}.refinement.3."),
    (r"^conv6\.", "decoder.mixture."),
    (r"^conv7\.", "decoder.classifier."),
    (r"^conv6_(\d)_(\d)\.", lambda found: f"{_level(found)}.parallel.branches.{int(found[2]) - 1}."),
    (r"^conv(\d)_1\.", lambda found: f"{_level(found)}.parallel.mixture."),
    (r"^cam_attention_(\d)\.attn\.", lambda found: f"{_level(found)}.channel_branch."),
    (r"^col_attention_(\d)\.", lambda found: f"{_level(found)}.axial_branch.0."),
    (r"^row_attention_(\d)\.", lambda found: f"{_level(found)}.axial_branch.1."),
)


@dataclass(frozen=True)
class Subject:
    """One way to compute a step.

    Attributes:
        model: a class of `pylon.models`, or 'authors'.
        bfloat16: under autocast.
        authors: folder of the authors' code; None: not wanted.
        pairs, size, threads: of each step.
        keeps_memory: that it frees, as the process of a run on the CPU does.
    """

    model: str
    bfloat16: bool
    authors: Path | None
    pairs: int
    size: int
    threads: int
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
    parser.add_argument("--profile", action="store_true", help="operations of one step, by time")
    options = parser.parse_args()
    if options.authors and not (options.authors / _AUTHORS_FILE).is_file():
        parser.error(f"--authors {options.authors}: expected a checkout with {_AUTHORS_FILE} in it")
    names = [*([_AUTHORS] if options.authors else []), *options.models]
    subjects = [
        Subject(name, bfloat16, options.authors, options.pairs, options.size, options.threads, keeps)
        for name in names
        for bfloat16, keeps in (_OF_AUTHORS if name == _AUTHORS else _OF_OURS)
    ]
    if options.authors:
        _write(f"Logits against the authors' in float64, relative: {_difference(options.authors):.1e}")
    if options.profile:
        for subject in subjects:
            _write(f"\n{subject.label}\n{_operations(subject)}")
        return
    steps = _in_turns(subjects, options.rounds)
    _write("| step | CPU, s | wall, s | memory, MiB |\n|---|---|---|---|")
    for subject in subjects:
        best = min(steps[subject], key=lambda step: step.cpu_s)
        _write(f"| {subject.label} | {best.cpu_s:.2f} | {best.wall_s:.2f} | {best.memory / 2**20:.0f} |")


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
    before = _forget_highest_memory()
    with contextlib.suppress(EOFError):
        while True:
            connection.recv()
            cpu_s, wall_s = time.process_time(), time.perf_counter()
            _compute(subject, model, batch)
            connection.send(
                Step(
                    time.process_time() - cpu_s,
                    time.perf_counter() - wall_s,
                    _highest_memory() - before,
                )
            )


def _prepared(subject: Subject) -> tuple[torch.nn.Module, tuple[torch.Tensor, ...]]:
    """Its model and batch, in this process as it wants it."""
    torch.set_num_threads(subject.threads)
    if subject.keeps_memory:
        keep_freed_memory()
    return _model(subject), _batch(subject)


def _compute(subject: Subject, model: torch.nn.Module, batch: tuple[torch.Tensor, ...]) -> None:
    img_1, img_2, label = batch
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=subject.bfloat16):
        logits = model(img_1, img_2)
    model.zero_grad()
    functional.cross_entropy(logits.float(), label).backward()


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


class AuthorsModel(torch.nn.Module):
    """Their network, without what it prints.

    Args:
        folder: a checkout of their code.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        spec = importlib.util.spec_from_file_location("authors_hanet", folder / _AUTHORS_FILE)
        if spec is None or spec.loader is None:
            raise FileNotFoundError(f"{folder}: expected {_AUTHORS_FILE} in it")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        self.network: torch.nn.Module = module.HAN()

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        """Logits."""
        with contextlib.redirect_stdout(io.StringIO()):
            logits: torch.Tensor = self.network(img_1, img_2)[0]
        return logits


def _difference(folder: Path) -> float:
    """The largest difference of the logits for the same weights, relative to the largest logit."""
    torch.manual_seed(0)
    theirs = AuthorsModel(folder).double().eval()
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(0.1)
    weights = {_our_name(name): value for name, value in theirs.network.state_dict().items()}
    ours = models.HANet(exact_energy=True).double().eval()
    ours.load_state_dict({name: weights[name] for name in ours.state_dict()})
    img_1, img_2 = torch.randn(2, 1, 3, 256, 256, dtype=torch.float64)
    with torch.no_grad():
        expected = theirs(img_1, img_2)
        return float((ours(img_1, img_2) - expected).abs().max() / expected.abs().max())


def _our_name(name: str) -> str:
    for pattern, replacement in _NAMES:
        changed, number = re.subn(pattern, replacement, name)
        if number:
            return re.sub(r"\b(query|key|value)_conv\.", r"\1.", changed)
    return name


def _level(found: re.Match[str]) -> str:
    return f"attention.{int(found[1]) - 1}"


def _operations(subject: Subject) -> str:
    model, batch = _prepared(subject)
    _compute(subject, model, batch)
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        _compute(subject, model, batch)
    return profiled.key_averages().table(sort_by="self_cpu_time_total", row_limit=15)


def _forget_highest_memory() -> int:
    """Bytes that this process has resident now; the highest is that of now (proc_pid_clear_refs(5))."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _highest_memory() -> int:
    """Bytes that this process has had resident at once. getrusage(2) would count its parent's too."""
    return _memory("VmHWM")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
