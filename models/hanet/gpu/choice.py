"""Whether a GPU takes HANet's own kernels, which are imported when they are first wanted."""

import functools
import importlib
import logging
import os

import torch

logger = logging.getLogger(__name__)

# Set to 0: cuDNN's kernels instead, which give other last bits.
VARIABLE = "PYLON_GPU_KERNELS"
_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The first with bfloat16; tried on 9.0.
_LEAST_CAPABILITY = (8, 0)


def take_kernels(features: torch.Tensor) -> bool:
    """Whether torch.ops.pylon.parallel_convolutions is there, and computes with these features."""
    if features.device.type != "cuda" or features.dtype not in _DTYPES or not features.numel():
        return False
    return _work_on(features.device.index or 0)


def _work_on(device: int) -> bool:
    return tried_on(device)


# As torch.compiler.assume_constant_result sets it; that imports torch._dynamo, which takes a second.
_work_on._dynamo_marked_constant = True  # type: ignore[attr-defined]


@functools.cache
def tried_on(device: int) -> bool:
    """Whether the kernels work on the device of this number: a process translates and tries them once."""
    return _wanted(device) and _computes(device)


def _wanted(device: int) -> bool:
    if os.environ.get(VARIABLE) == "0" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _LEAST_CAPABILITY


def _computes(device: int) -> bool:
    """Run one; Triton needs a C compiler for that."""
    try:
        module = importlib.import_module("pylon.models.hanet.gpu.convolutions")
        features = torch.zeros(1, 4, 4, 4, device=torch.device("cuda", device))
        weights, biases = features.new_zeros(4, 2, 4, 3, 3), features.new_zeros(4, 2)
        with torch.no_grad():
            module.parallel_convolutions(features, weights, biases)
    except Exception as error:  # noqa: BLE001 - whatever Triton raises: there is another way to compute
        logger.warning("HANet's convolutions take cuDNN's slower kernels, as its own fail here: %r", error)
        return False
    return True
