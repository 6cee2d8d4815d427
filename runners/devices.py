"""Which device a run, or one rank of it, computes on."""

import torch

from pylon.runners.errors import ConfigError


def select_device(name: str, *, local_rank: int = 0, ranks: int = 1) -> torch.device:
    """The device of a `--device` argument.

    Args:
        name: 'auto', 'cpu', 'cuda' or 'cuda:N'; 'auto' is CUDA if there is a device.
        local_rank: the number of this process on its machine: of several, each takes the GPU of its number.
        ranks: how many processes the run has.

    Raises:
        ConfigError: the name has none of the four forms, or there is no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if count else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError.single("--device", name, "auto, cpu, cuda or cuda:N") from None
    if device.type not in {"cpu", "cuda"}:
        raise ConfigError.single("--device", name, "auto, cpu, cuda or cuda:N")
    if device.type == "cpu":
        return device
    if ranks > 1:
        if device.index is not None:
            raise ConfigError.single(
                "--device", name, "cuda: of several processes, each takes the GPU of its local rank"
            )
        device = torch.device("cuda", local_rank)
    if (device.index or 0) >= count:
        fix = f"; start at most {count} processes here (--nproc-per-node)" if ranks > 1 and count else ""
        raise ConfigError.single(
            "--device", name, f"one of the {count} CUDA devices that torch finds here{fix}"
        )
    return device
