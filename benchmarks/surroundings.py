"""What is printed above each table of figures: the machine, its load, and versions."""

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from pathlib import Path


def machine() -> str:
    """Interpreter, kernel, processor, cores and load, on one line."""
    return (
        f"{platform.python_implementation()} {platform.python_version()}, Linux {platform.release()}, "
        f"{_processor()}, {os.cpu_count()} cores, load average {load()}"
    )


def load() -> str:
    """The three load averages."""
    return " ".join(f"{one:.1f}" for one in os.getloadavg())


def versions(distributions: Iterable[str]) -> str:
    """Each distribution with its version, on one line."""
    return ", ".join(f"{name} {_version(name)}" for name in distributions)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
