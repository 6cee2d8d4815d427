"""Pairs per second and peak memory of a training step of each model, in each precision.

Kernels are deterministic, as a run of Pylon asks for them, and as the authors' script asks cuDNN.
"""

import contextlib
import importlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from pylon import models
from pylon.criteria import FocalDiceLoss
from pylon.models.hanet.gpu import choice
from pylon.runners.randomness import deterministic_kernels
from pylon.runners.training.strict_backward import StrictBackward
from tests.gpu.outcomes import Report, Setting

_AUTHORS = "authors' HANet"
# Their network takes no other.
_AUTHORS_SIZE = 256
_WARM_UP = 3
_PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Contender:
    """A model, and how it computes.

    Attributes:
        model: its name.
        precision: of the forward pass.
        compiled: by torch.compile, with CUDA graphs.
    """

    model: str
    precision: str
    compiled: bool = False

    @property
    def label(self) -> str:
        """For the table."""
        words = (self.model, self.precision, "compiled" * self.compiled)
        return ", ".join(filter(None, words))


@dataclass(frozen=True)
class Speed:
    """What a step takes: pairs per second, peak memory (None: not known), and the last loss."""

    pairs_per_s: float
    peak_bytes: int | None
    loss: float


def run(setting: Setting) -> Report:
    """The part."""
    device = torch.device(setting.device)
    pairs, size, steps = (1, 32, 1) if setting.short else (8, _AUTHORS_SIZE, 10)
    if setting.authors is not None:
        size = _AUTHORS_SIZE
    found: dict[str, Speed] = {}
    for one in contenders(authors=setting.authors is not None, short=setting.short):
        model = _model(one, setting.authors).to(device).train()
        found[one.label] = measured(one, model, device, pairs=pairs, size=size, steps=steps)
        # Is shown if the part does not end in time.
        sys.stdout.write(f"{_text(one.label, found[one.label])}\n")
        sys.stdout.flush()
    report = judged(found)
    report.failures += failed_kernels(device)
    return report


def failed_kernels(device: torch.device) -> list[str]:
    """The precisions in which HANet's own kernels are wanted on this GPU, and failed their trial."""
    if device.type != "cuda":
        return []
    number = torch.cuda.current_device() if device.index is None else device.index
    if not choice.wanted(number):
        return []
    return [
        f"HANet, {precision}: its own kernels failed their trial, so that these are the figures of cuDNN's"
        for precision in _PRECISIONS
        if not choice.tried_on(number, getattr(torch, precision))
    ]


def contenders(*, authors: bool, short: bool) -> list[Contender]:
    """All of them."""
    names = ["HANet", *[_AUTHORS] * authors, *["FCEF", "FCSiamConc", "FCSiamDiff"] * (not short)]
    found = [Contender(name, precision) for name in names for precision in _PRECISIONS]
    if not short:
        # Last, as torch takes minutes to compile it where it has not done so before.
        found += [Contender("HANet", precision, compiled=True) for precision in _PRECISIONS]
    return found


def judged(found: dict[str, Speed]) -> Report:
    """What the figures mean: a step counts only if its loss is a number."""
    report = Report()
    report.expect(bool(found), "nothing was measured")
    for label, one in found.items():
        report.expect(math.isfinite(one.loss), f"{label}: the loss is {one.loss}")
        report.expect(one.pairs_per_s > 0, f"{label}: {one.pairs_per_s} pairs per second")
    report.details = {label: asdict(one) for label, one in found.items()}
    report.figure = "; ".join(_text(label, one) for label, one in found.items() if "HANet" in label)
    return report


def measured(
    one: Contender, model: torch.nn.Module, device: torch.device, *, pairs: int, size: int, steps: int
) -> Speed:
    """Time training steps, after some that are not."""
    generator = torch.Generator().manual_seed(0)
    img_1, img_2 = torch.rand(2, pairs, 3, size, size, generator=generator).to(device)
    target = torch.randint(0, 2, (pairs, size, size), generator=generator).to(device)
    called: Callable[..., torch.Tensor] = (
        torch.compile(model, mode="reduce-overhead") if one.compiled else model
    )
    criterion = FocalDiceLoss().to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4)

    strict = StrictBackward(wanted=True)

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with _autocast(one.precision, device):
            loss: torch.Tensor = criterion(called(img_1, img_2), target)
        try:
            with strict.mode():
                loss.backward()
        except RuntimeError as error:
            if not strict.gives_up(error):
                raise
            return step()
        optimizer.step()
        return loss.detach()

    with deterministic_kernels(True), _peak_memory(device) as peak:
        for _ in range(_WARM_UP):
            loss = step()
        _wait(device)
        begun_s = time.perf_counter()
        for _ in range(steps):
            loss = step()
        _wait(device)
        took_s = time.perf_counter() - begun_s
    return Speed(pairs * steps / took_s, peak[0], float(loss))


@contextlib.contextmanager
def _peak_memory(device: torch.device) -> Iterator[list[int | None]]:
    found: list[int | None] = [None]
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    yield found
    if device.type == "cuda":
        found[0] = torch.cuda.max_memory_allocated(device)


def _autocast(precision: str, device: torch.device) -> contextlib.AbstractContextManager[object]:
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _model(one: Contender, authors: str | None) -> torch.nn.Module:
    torch.manual_seed(0)
    if one.model != _AUTHORS or authors is None:
        model: torch.nn.Module = getattr(models, one.model)()
        return model
    loader = importlib.import_module("benchmarks.authors").AuthorsModel
    theirs: torch.nn.Module = loader(Path(authors))
    return theirs


def _text(label: str, one: Speed) -> str:
    peak = "memory not known" if one.peak_bytes is None else f"{one.peak_bytes / 2**30:.2f} GiB"
    return f"{label}: {one.pairs_per_s:.0f} pairs/s, {peak}"
