"""Which processes belong to a run."""

import psutil


def descendants_of(pid: int) -> set[int]:
    """`pid` and all processes below it; empty once it is gone."""
    try:
        root = psutil.Process(pid)
        return {pid, *(process.pid for process in root.children(recursive=True))}
    except psutil.NoSuchProcess:
        return set()


def parent_of(pid: int) -> int:
    """Parent of `pid`. Raises psutil.NoSuchProcess where that is gone."""
    return psutil.Process(pid).ppid()
