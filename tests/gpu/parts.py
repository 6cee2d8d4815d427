"""The parts of the check, in the order of a run: what each needs, and how long it may take."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        function: 'module:function' in this package, called with a Setting, gives a Report.
        needs: 'driver' (libnvidia-ml and nvidia-smi), 'cuda' (torch's, on any --device), or 'device' (the
            device of --device).
        limit_s: seconds after which it has failed.
        about: in a line.
    """

    function: str
    needs: Literal["driver", "cuda", "device"]
    limit_s: float
    about: str


PARTS = {
    "nvml": Part("nvml:run", "driver", 60, "every value of the monitors against nvidia-smi"),
    "release": Part("release:run", "driver", 60, "release() closes the driver, resume() opens it"),
    "overhead": Part("overhead:run", "driver", 90, "CPU time of the monitors on this driver"),
    "devices": Part("devices:run", "cuda", 120, "CUDA_VISIBLE_DEVICES: the GPU that is used is watched"),
    "free": Part("free:run", "cuda", 60, "a run uses the GPU that `pylon free` chose"),
    "training": Part("training:run", "device", 240, "losses of each precision and layout against the CPU's"),
    "resume": Part("resuming:stop", "device", 120, "a stopped HANet resumes to the same bits"),
    "kills": Part("resuming:kills", "device", 180, "SIGKILLs at random moments, resumed to the same bits"),
    "nccl": Part("nccl:run", "device", 120, "gradients through NCCL, with as many ranks as GPUs"),
    "memory": Part("memory:run", "device", 60, "out of memory is explained"),
    "saving": Part("saving:run", "device", 120, "how long training waits for a save"),
    "speed": Part("speed:run", "device", 360, "pairs per second and peak memory of the models"),
}
