"""What the optional parts of Pylon need, and how to name the part that is not installed."""

import importlib.util

# The modules of the extra `train` in pyproject.toml.
TRAIN_MODULES = frozenset({"torch", "numpy", "PIL", "rich", "matplotlib", "typeguard"})


class MissingExtraError(ImportError):
    """A part of Pylon needs a library that only an extra installs; the text names the fix."""


def require_training() -> None:
    """Check that training's libraries are installed, without importing them: some are needed only at the end.

    Raises:
        MissingExtraError: one is absent.
    """
    for name in sorted(TRAIN_MODULES):
        try:
            absent = importlib.util.find_spec(name) is None
        except ValueError:
            absent = True
        if absent:
            raise _missing(name)


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that names the extra; None if the absent module is of none.

    Args:
        error: what the import raised.
    """
    library = (error.name or "").partition(".")[0]
    if library not in TRAIN_MODULES:
        return None
    return _missing(library)


def _missing(library: str) -> MissingExtraError:
    return MissingExtraError(
        f"Training needs {library!r}, which is not installed. Install Pylon with its extra 'train': "
        "pip install 'pylon-runner[train]' from the wheel, pip install '.[train]' in a clone.",
        name=library,
    )
