"""Where in the user's own code an unexpected error came from: file and line, module, datapoint.

    frames of the traceback ── not in Pylon, site-packages, the standard library ──> the last one: file, line
                            ── `self` is a torch.nn.Module ──> its path inside the outermost one
                            ── an argument is a batch ──> its datapoints
    a loader worker's text  ── the same, from the text of its traceback

Nothing is installed while a run goes on: all of this is read from the traceback.
"""

import functools
import inspect
import linecache
import logging
import re
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, FunctionType, TracebackType
from typing import Any

import torch

import pylon
from pylon.data import WorkerTraceback

_BEGINNING = "Traceback (most recent call last):\n"
_IN_TEXT = re.compile(r'^  File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>.+)$', re.MULTILINE)
_FOREIGN = frozenset({"site-packages", "dist-packages"})
# Around a model: a name of theirs precedes the model's own ones.
_WRAPPERS = {"DistributedDataParallel": "module.", "OptimizedModule": "_orig_mod."}
_DATAPOINTS_SHOWN = 8
_LONGEST_CODE = 100
_MOST_LINES = 10
_LONGEST_TEXT = 1500

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """A line that was being executed."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        """As text, with the line's own text if its file can be read."""
        code = linecache.getline(self.file, self.line).strip()[:_LONGEST_CODE]
        return f"in {self.file}, line {self.line}, in {self.function}{f': {code}' if code else ''}"


def explanation(error: BaseException, *, batch: bool = True) -> list[str]:
    """What leads to the cause of an error in the user's own code, a line each; [] if nothing is known.

    Args:
        error: what was raised; a batch or module that it came from is still in the frames of its traceback.
        batch: name the datapoints of the batch too.
    """
    found: list[str] = []
    try:
        for line in _lines(error, batch=batch):
            found.append(line)  # noqa: PERF402 - what comes before a failure stays
    except Exception:
        # Objects of the user's may raise anything, and the error itself matters more.
        logger.debug("more of the place of an error could not be found", exc_info=True)
    return found


def message(error: BaseException) -> str:
    """Type and text of an error; of one from a loader worker, the worker's own, without its traceback.

    Of a long text, such as torch's list of all its dispatch keys, the beginning.
    """
    text = _worker_text(error)
    if text is None:
        return _beginning(f"{type(error).__name__}: {str(error).strip()}")
    return "\n".join(_after_frames(text)[:1]) or f"{type(error).__name__}: {text.strip().splitlines()[-1]}"


def _beginning(text: str) -> str:
    lines = text.splitlines()
    shown = "\n".join(lines[:_MOST_LINES])[:_LONGEST_TEXT]
    return text if shown == text else f"{shown} ... (all of it is in the log)"


def _lines(error: BaseException, *, batch: bool) -> Iterator[str]:
    text, frames = _worker_text(error), list(_frames(error.__traceback__))
    places = _places_in_text(text) if text is not None else [_place(*frame) for frame in frames]
    own = next((place for place in reversed(places) if is_own(place.file)), None)
    if own is not None:
        yield str(own)
    if text is not None:
        yield from _after_frames(text)[1:]
        return
    yield from getattr(error, "__notes__", ())
    if (module := _module_path([frame for frame, _ in frames])) is not None:
        yield f"in the module {module}"
    if batch and (datapoints := _datapoints([frame for frame, _ in frames])) is not None:
        yield f"with {datapoints}"


def _frames(traceback: TracebackType | None) -> Iterator[tuple[FrameType, int]]:
    while traceback is not None:
        yield traceback.tb_frame, traceback.tb_lineno
        traceback = traceback.tb_next


def _place(frame: FrameType, line: int) -> Place:
    return Place(frame.f_code.co_filename, line, frame.f_code.co_name)


def _worker_text(error: BaseException) -> str | None:
    """The traceback that a loader worker has written, None if the error is from this process."""
    if isinstance(error, WorkerTraceback):
        return str(error)
    text = str(error)
    return text if "Original " + _BEGINNING in text else None


def _places_in_text(text: str) -> list[Place]:
    last = text.rpartition(_BEGINNING)[2]
    return [Place(one["file"], int(one["line"]), one["function"]) for one in _IN_TEXT.finditer(last)]


def _after_frames(text: str) -> list[str]:
    """The lines of a written traceback from its exception's type on."""
    lines = text.rpartition(_BEGINNING)[2].strip("\n").splitlines()
    first = next(
        (number for number, line in enumerate(lines) if line and not line.startswith(" ")), len(lines)
    )
    return lines[first:]


def is_own(file: str) -> bool:
    """Whether a file is the user's: of no installed package, not Python's and not Pylon's."""
    if file.startswith("<") or _FOREIGN.intersection(Path(file).parts):
        return False
    path = Path(file).resolve()
    return not any(path.is_relative_to(folder) for folder in _not_own())


def functions_of(cls: type) -> list[FunctionType]:
    """Those that stand in the class itself, without what they are wrapped in, as by `torch.no_grad()`."""
    functions = (inspect.unwrap(one) for one in vars(cls).values() if isinstance(one, FunctionType))
    return [one for one in functions if isinstance(one, FunctionType)]


@functools.cache
def _not_own() -> tuple[Path, ...]:
    package = Path(pylon.__file__).resolve().parent
    # What is in configs/ is there to be changed.
    parts = [path.resolve() for path in package.iterdir() if path.is_dir() and path.name != "configs"]
    standard = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return package, *parts, *standard


def _module_path(frames: Sequence[FrameType]) -> str | None:
    """The innermost module that was being called, as in 'model.encoder.2 (Linear)'; None without one."""
    # What is being constructed is not called.
    callers = [frame.f_locals.get("self") for frame in frames if frame.f_code.co_name != "__init__"]
    modules = [one for one in callers if isinstance(one, torch.nn.Module)]
    if not modules:
        return None
    outermost = modules[0]
    names = {id(module): name for name, module in outermost.named_modules()}
    module = next(one for one in reversed(modules) if id(one) in names)
    prefix = _WRAPPERS.get(type(outermost).__name__, "")
    name = names[id(module)].removeprefix(prefix) if names[id(module)] != prefix.rstrip(".") else ""
    before = next(number for number, one in enumerate(callers) if one is outermost)
    held = _name_of_holder(callers[:before], outermost) or type(outermost).__name__
    return f"{held}{f'.{name}' if name else ''} ({type(module).__name__})"


def _name_of_holder(callers: Sequence[Any], module: torch.nn.Module) -> str | None:
    """The attribute under which the nearest caller holds the module, such as 'model' of a task."""
    for caller in reversed(callers):
        for name, value in (getattr(caller, "__dict__", None) or {}).items():
            if value is module:
                return str(name).lstrip("_")
    return None


def _datapoints(frames: Sequence[FrameType]) -> str | None:
    """The datapoints of the batch that was being worked on, None if no function had one as its argument."""
    for frame in reversed(frames):
        arguments = frame.f_code.co_varnames[: frame.f_code.co_argcount]
        for value in (frame.f_locals.get(name) for name in arguments):
            if not isinstance(value, dict) or not isinstance(value.get("meta_info"), dict):
                continue
            indices = value["meta_info"].get("idx")
            if isinstance(indices, list | tuple) and indices:
                shown = ", ".join(str(one) for one in indices[:_DATAPOINTS_SHOWN])
                more = (
                    f" and {len(indices) - _DATAPOINTS_SHOWN} more"
                    if len(indices) > _DATAPOINTS_SHOWN
                    else ""
                )
                return f"a batch of the datapoints {shown}{more}"
    return None
