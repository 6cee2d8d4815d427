"""In which dtype convolutions and products compute."""

from contextlib import AbstractContextManager, nullcontext

import torch

# Where it is asked: torch.compile of torch 2.11 cannot ask whether another device has autocast.
_DEVICES = ("cpu", "cuda")


def computing_dtype(features: torch.Tensor) -> torch.dtype:
    """Autocast's where it is on for the features' device, else their own. It leaves float64 as it is."""
    device = features.device.type
    if features.dtype == torch.float64 or device not in _DEVICES or not torch.is_autocast_enabled(device):
        return features.dtype
    return torch.get_autocast_dtype(device)


def without_autocast(features: torch.Tensor) -> AbstractContextManager[object]:
    """Autocast off for the features' device. 'meta', where shapes are computed and no numbers, has none."""
    device = features.device.type
    return nullcontext() if device == "meta" else torch.autocast(device_type=device, enabled=False)
