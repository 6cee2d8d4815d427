"""What the optional parts of Pylon need, and how to name the part that is not installed."""

import importlib.util

# The modules of the extra `train` in pyproject.toml.
TRAIN_MODULES = frozenset({"torch", "numpy", "PIL", "rich", "matplotlib", "typeguard"})
# By the library that is imported: what needs it, and the extra that installs it.
_OF_COMMANDS = {
    "prometheus_client": ("pylon export", "export"),
    "opentelemetry": ("pylon export --otlp", "otlp"),
    "uvicorn": ("pylon serve", "serve"),
    "h11": ("pylon serve", "serve"),
}


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
    if library in _OF_COMMANDS:
        return _missing(library, *_OF_COMMANDS[library])
    return _missing(library) if library in TRAIN_MODULES else None


def absent_library(library: str, extra: str, user: str) -> str:
    """The text that names the extra which installs a library.

    Args:
        library: the module.
        extra: of Pylon.
        user: what needs it.
    """
    return (
        f"{user} needs {library!r}, which is not installed. Install Pylon with its extra {extra!r}: "
        f"pip install 'pylon-runner[{extra}]' from the wheel, pip install '.[{extra}]' in a clone."
    )


def _missing(library: str, user: str = "Training", extra: str = "train") -> MissingExtraError:
    return MissingExtraError(absent_library(library, extra, user), name=library)
