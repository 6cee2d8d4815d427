"""What torchrun's environment variables say of this process."""

import os

from pylon.runners.errors import ConfigError


def launched_as() -> tuple[int, int]:
    """The local rank of this process and the number of ranks, from torchrun's environment variables.

    Raises:
        ConfigError: a variable is not a number, or does not fit the others.
    """
    ranks = _from_environment("WORLD_SIZE", 1, 1, None)
    if ranks > 1:
        _from_environment("RANK", 0, 0, ranks - 1)
    return _from_environment("LOCAL_RANK", 0, 0, ranks - 1), ranks


def _from_environment(name: str, default: int, least: int, most: int | None) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or int(text) < least or (most is not None and int(text) > most):
        numbers = f"{least} or more" if most is None else f"{least} to {most} (WORLD_SIZE - 1)"
        raise ConfigError.single(
            name, text, f"{numbers}, as torchrun sets it; unset it for a run of one process", "environment"
        )
    return int(text)
