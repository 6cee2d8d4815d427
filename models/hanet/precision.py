"""In which dtype convolutions and products compute."""

import torch


def computing_dtype(features: torch.Tensor) -> torch.dtype:
    """Autocast's where it is on for the features' device, else their own. It leaves float64 as it is."""
    device = features.device.type
    if features.dtype == torch.float64 or not torch.amp.is_autocast_available(device):
        return features.dtype
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else features.dtype
