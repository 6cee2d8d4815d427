"""Which GPUs the monitors watch and torch uses in this process, as JSON: `python -m tests.gpu.watched`."""

import json
import sys
import time
from dataclasses import asdict, dataclass, field

from pylon.monitor import GPUStatus, SystemMonitor
from tests.gpu.machine import plain_uuid

ALLOCATED_BYTES = 2**30
_INTERVAL_S = 0.5
_WITHIN_S = 15.0


@dataclass(frozen=True)
class Seen:
    """What was seen under one CUDA_VISIBLE_DEVICES.

    Attributes:
        watched: UUIDs of the GPUs that the monitors show, in order.
        parts: by UUID of a GPU, those of its MIG instances.
        used: UUIDs of torch's devices, in order.
        grown_bytes: memory in use on the first watched GPU, after torch has allocated ALLOCATED_BYTES on its
            first device, less that before; None: there is no device, or it is not known.
    """

    watched: list[str]
    used: list[str]
    parts: dict[str, list[str]] = field(default_factory=dict)
    grown_bytes: int | None = None


def look() -> Seen:
    """Watch, then use."""
    import torch

    with SystemMonitor(interval_s=_INTERVAL_S, slow_interval_s=_INTERVAL_S) as monitor:
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        used = [plain_uuid(str(torch.cuda.get_device_properties(index).uuid)) for index in range(count)]
        if count:
            torch.zeros(1, device="cuda:0")  # the context's own memory
            torch.cuda.synchronize()
        before = _reading(monitor)
        kept = [torch.zeros(ALLOCATED_BYTES, dtype=torch.uint8, device="cuda:0")] if count else []
        if kept:
            torch.cuda.synchronize()
        after = _reading(monitor)
    parts = {one.uuid: [part.uuid for part in one.mig_instances or ()] for one in after.gpus}
    return Seen([one.uuid for one in after.gpus], used, parts, _growth(before, after) if kept else None)


def _growth(before: GPUStatus, after: GPUStatus) -> int | None:
    if not before.gpus or not after.gpus:
        return None
    one, other = before.gpus[0].memory_used_bytes, after.gpus[0].memory_used_bytes
    return None if one is None or other is None else other - one


def _reading(monitor: SystemMonitor) -> GPUStatus:
    """A reading, slow values included, that began after this call."""
    begun_s = time.monotonic()
    while time.monotonic() - begun_s < _WITHIN_S:
        seen = monitor.latest().gpu.get("localhost")
        status = None if seen is None else seen.current
        if status is not None and status.monotonic_s > begun_s:
            slow = [one.slow_monotonic_s or 0.0 for one in status.gpus]
            if all(one > begun_s for one in slow):
                return status
        time.sleep(0.02)
    raise TimeoutError(f"no reading of the GPUs within {_WITHIN_S} s: {monitor.health()}")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(look())) + "\n")
