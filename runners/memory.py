"""Out of memory, explained: what was in use, as far as it is known."""

import logging
import re

import torch

from pylon.monitor import SystemMonitor
from pylon.runners.errors import TrainingError

# What CUDA and its libraries raise if torch's allocator has left them too little.
_USED_UP = re.compile(
    r"DefaultCPUAllocator|CUDA[^\n]{0,40}out of memory|CUDA_ERROR_OUT_OF_MEMORY|STATUS_ALLOC_FAILED"
)
_IN_A_STEP = (
    "Try a smaller train_dataloader.args.batch_size with Stepping's accumulate_batches, a smaller crop, "
    "tile_size in evaluation, or Stepping's precision='bfloat16'."
)

logger = logging.getLogger(__name__)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is used up, on a GPU or in the process."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _USED_UP.search(str(error)) is not None


def out_of_memory(
    error: BaseException, monitor: SystemMonitor | None, device: torch.device, advice: str = _IN_A_STEP
) -> TrainingError:
    """The error for the user: the allocator's words, the monitor's last figures, and what helps.

    The allocator's whole summary goes to the run's log.
    """
    if device.type == "cuda":
        logger.error("%s", torch.cuda.memory_summary(device))
    figures = {} if monitor is None else monitor.latest().as_record()
    known = {name: value for name, value in figures.items() if "memory" in name and value is not None}
    seen = ", ".join(f"{name} {value}" for name, value in sorted(known.items()))
    return TrainingError(
        f"Out of memory: {str(error).splitlines()[0] if str(error) else type(error).__name__}\n"
        f"The monitor's last figures: {seen or 'none'}.\n{advice}"
    )
