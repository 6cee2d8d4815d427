"""What the C library does with memory that a training step frees.

glibc gives large blocks back to the kernel at once, and gets them again in the next step, cleared, page by
page: up to a quarter of the CPU time of a step of HANet (`python -m benchmarks.models`). A training takes the
same memory in each step, so its process keeps it. On a GPU the steps' memory is torch's own business.
"""

import ctypes
import os

# mallopt(3): how many blocks are got by mmap, and from which free size on the end of the heap is given back.
_M_MMAP_MAX, _M_TRIM_THRESHOLD = -4, -1
_NEVER = -1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for itself; whether it does.

    It does not with another C library than glibc, or if the user has chosen: by a variable MALLOC_... or
    GLIBC_TUNABLES. No bit of a result depends on it.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
