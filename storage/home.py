"""Paths as people write them."""

import os
from pathlib import Path


def with_home(path: str | os.PathLike[str]) -> Path:
    """The path with a leading `~` or `~user` as that home directory; as it is if there is no such user."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for an unknown user
