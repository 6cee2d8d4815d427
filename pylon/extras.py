"""What the optional parts of Pylon need, and how to name the part that is not installed."""

# The modules of the extra `train` in pyproject.toml.
TRAIN_MODULES = frozenset({"torch", "numpy", "PIL", "rich", "matplotlib", "typeguard"})


class MissingExtraError(ImportError):
    """A part of Pylon needs a library that only an extra installs; the text names the fix."""


def missing_extra(error: ModuleNotFoundError) -> MissingExtraError | None:
    """The error that names the extra; None if the absent module is of none.

    Args:
        error: what the import raised.
    """
    library = (error.name or "").partition(".")[0]
    if library not in TRAIN_MODULES:
        return None
    return MissingExtraError(
        f"Training needs {library!r}, which is not installed. Install Pylon with its extra 'train': "
        "pip install 'pylon-runner[train]' from the wheel, pip install '.[train]' in a clone.",
        name=error.name,
    )
