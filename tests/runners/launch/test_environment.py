"""What a launch notes of its machine."""

import pytest
import torch

from pylon.runners.launch.environment import describe


def test_gpus_that_a_too_old_driver_shows_and_torch_cannot_use_end_no_launch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def too_old(*_: object) -> str:
        raise RuntimeError("The NVIDIA driver on your system is too old")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # through NVML, which does not start CUDA
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", too_old)
    assert describe(torch.device("cpu"), 1, {})["hardware"]["cuda_devices"] == []
