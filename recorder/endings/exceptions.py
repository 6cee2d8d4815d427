"""What an exception's name and text, or the last lines of an error output, are a sign of."""

import re

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


def cause_of(kind: str, text: str) -> str:
    """The cause of an end that an exception with this class name and text is a sign of."""
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
