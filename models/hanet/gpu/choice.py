"""Whether a GPU takes HANet's own kernels, which are imported when they are first wanted."""

import functools
import importlib
import logging
import os

import torch

from pylon.models.hanet.gpu.trial import largest_difference
from pylon.models.hanet.precision import computing_dtype

logger = logging.getLogger(__name__)

# Set to 0: cuDNN's kernels instead, which give other last bits.
VARIABLE = "PYLON_GPU_KERNELS"
# How far the kernels may be from float64, relative to the largest value: rounding, and no more.
_TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 2e-2, torch.float16: 5e-3}
# The first with bfloat16; tried on 9.0.
_LEAST_CAPABILITY = (8, 0)


def take_kernels(features: torch.Tensor) -> bool:
    """Whether torch.ops.pylon.parallel_convolutions is there, and computes right with these features."""
    if features.device.type != "cuda" or features.dtype not in _TOLERANCES or not features.numel():
        return False
    return _work_on(features.device.index or 0, computing_dtype(features))


def _work_on(device: int, dtype: torch.dtype) -> bool:
    return tried_on(device, dtype)


# As torch.compiler.assume_constant_result sets it; that imports torch._dynamo, which takes a second.
_work_on._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def tried_on(device: int, dtype: torch.dtype) -> bool:
    """Whether the kernels are right on this device: a process translates and tries them once for a dtype."""
    return wanted(device) and _computes_right(device, dtype)


def wanted(device: int) -> bool:
    """Whether the user leaves the choice, and the device can have kernels of Triton."""
    if os.environ.get(VARIABLE) == "0" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


def _computes_right(device: int, dtype: torch.dtype) -> bool:
    """Run all of them; Triton needs a C compiler for that."""
    try:
        convolutions = importlib.import_module("pylon.models.hanet.gpu.convolutions").parallel_convolutions
        found = largest_difference(convolutions, device=_device(device), dtype=dtype)
    except Exception as error:  # noqa: BLE001 - whatever Triton raises: there is another way to compute
        logger.warning("HANet's convolutions take cuDNN's slower kernels, as its own fail here: %r", error)
        return False
    if found <= _TOLERANCES[dtype]:
        return True
    logger.warning(
        "HANet's convolutions take cuDNN's slower kernels, as its own are wrong here by %.1g of the largest "
        "value in %s, where rounding gives %.0e",
        found,
        dtype,
        _TOLERANCES[dtype],
    )
    return False


def _device(number: int) -> torch.device:
    return torch.device("cuda", number)
