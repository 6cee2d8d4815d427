"""What an exception's name and text, or the last lines of an error output, are a sign of."""

import re
import traceback
from typing import Any

_CUDA_OOM = re.compile(
    r"OutOfMemoryError|(CUDA|HIP|MPS backend|XPU)[^\n]{0,40}out of memory|CUDA_ERROR_OUT_OF_MEMORY", re.I
)
_DISK = re.compile(
    r"No space left on device|Errno 28|Errno 122|Disk quota exceeded|ENOSPC|disk (is )?full", re.I
)
_GPU_LOST = re.compile(
    r"GPU is lost|fallen off the bus|uncorrectable ECC|device-side hardware|"
    r"CUDA error: (unknown error|unspecified launch failure|the launch timed out|device not ready|"
    r"hardware stack error|an illegal instruction)|NVML_ERROR_GPU_IS_LOST",
    re.I,
)
_NON_FINITE = re.compile(
    r"non-?finite|\bthe loss is (nan|inf|-inf)\b|\bNonFiniteError\b|loss[^\n]{0,30}\bnan\b", re.I
)
_TRACEBACK = "Traceback (most recent call last):"
_RAISED = re.compile(r"^[A-Za-z_][\w.]*(Error|Exception|Interrupt|Exit|Warning|Stopped)?\b(:|$)")
_LONGEST_TRACEBACK = 16_000
_MOST_FRAMES = 50
_MOST_CAUSES = 5


def words_of(error: BaseException) -> dict[str, Any]:
    """How a program ends with an exception, in its own words; empty for an exit without a failure.

    The recorder may be gone before the exit code can be seen from outside.
    """
    if isinstance(error, SystemExit):
        asked = error.code
        code = asked if isinstance(asked, int) else int(asked is not None)
        said = None if isinstance(asked, int) else str(asked)
        known = {"exit_code": code & 0xFF, "error_type": "SystemExit", "error": said}
        return {"state": "failed", **known} if code else {}
    stopped = isinstance(error, KeyboardInterrupt)
    return {
        "state": "stopped" if stopped else "failed",
        "error_type": type(error).__name__,
        "error": _with_causes(error),
        "signal": "SIGINT" if stopped else None,
        "traceback": "".join(traceback.format_exception(error, limit=-_MOST_FRAMES)),
    }


def _with_causes(error: BaseException) -> str:
    """Its text, and what it was raised from: a readable error may not name the library's."""
    parts, one = [str(error)], error.__cause__
    while one is not None and len(parts) < _MOST_CAUSES:
        parts.append(f"({type(one).__name__}: {one})")
        one = one.__cause__
    return "\n".join(parts)


def cause_of(kind: str, text: str) -> str:
    """The cause of an end that an exception with this class name and text is a sign of."""
    if kind == "SystemExit":
        return "exit_code"
    whole = f"{kind}: {text}"
    for cause, pattern in (
        ("cuda_oom", _CUDA_OOM),
        ("disk_full", _DISK),
        ("gpu_lost", _GPU_LOST),
        ("non_finite", _NON_FINITE),
    ):
        if pattern.search(whole):
            return cause
    return "sigint" if kind == "KeyboardInterrupt" else "exception"


def traceback_in(text: str) -> tuple[str, str, str] | None:
    """The last traceback in an error output, with the name and the text of its exception."""
    begin = text.rfind(_TRACEBACK)
    if begin < 0:
        return None
    lines = text[begin:].splitlines()
    for number, line in enumerate(lines[1:], 1):
        if line[:1] not in {"", " ", "\t"}:
            if not _RAISED.match(line):
                return None
            kind, _, what = line.partition(":")
            shown = "\n".join(lines[: number + 1])[-_LONGEST_TRACEBACK:]
            return shown, kind.strip().rpartition(".")[2], what.strip()
    return None
