"""What a run ran on: versions, code state and hardware, one record for every launch."""

import datetime
import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import torch

import pylon
from pylon.masking import masked_words
from pylon.models.hanet.gpu.choice import VARIABLE as OWN_GPU_KERNELS
from pylon.runners.launch.repositories import commit_of_pylon, commits_of

_PACKAGES = ("torch", "numpy", "pillow", "psutil", "nvidia-ml-py", "rich", "matplotlib", "typeguard")


def describe(device: torch.device, ranks: int, configuration_files: dict[str, str]) -> dict[str, Any]:
    """A JSON-ready record of this launch: time, command, versions, git state, hardware.

    Args:
        device: of this process.
        ranks: how many processes the run has.
        configuration_files: digests of the configuration files and of the modules next to them, by path.
    """
    return {
        "started_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": masked_words([sys.executable, *sys.argv]),
        "working_directory": str(Path.cwd()),
        "host": platform.node(),
        "pid": os.getpid(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "pylon": pylon.__version__,
        "git": commit_of_pylon(),
        "configuration_git": commits_of(map(Path, configuration_files)),
        "configuration_files": configuration_files,
        "device": str(device),
        "ranks": ranks,
        "torchrun": torchrun_id(),
        "hardware": {
            "cpu": _cpu_name(),
            "cpu_cores": psutil.cpu_count(),
            "torch_threads": torch.get_num_threads(),
            "memory_total_bytes": psutil.virtual_memory().total,
            "own_gpu_kernels": os.environ.get(OWN_GPU_KERNELS, "1"),
            "cuda_devices": _cuda_names(),
        },
    }


def torchrun_id() -> str | None:
    """The identity of this process's torchrun, the same after its restarts; None without it."""
    name = os.environ.get("TORCHELASTIC_RUN_ID")
    # The name is not unique: by default it is 'none'.
    return None if name is None else f"{name} {platform.node()} {os.getppid()}"


def is_restart_of(launch: dict[str, Any]) -> bool:
    """Whether torchrun has started this process again after a launch that is noted as `launch`."""
    count = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return count != "0" and launch.get("torchrun") == torchrun_id()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _cuda_names() -> list[str]:
    """Of the GPUs that torch can use: it counts them also where the driver is too old for it to start."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(index) for index in range(count)]


def _cpu_name() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
