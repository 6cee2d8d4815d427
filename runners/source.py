"""What can be checked of a configuration file before torch is imported, which takes seconds."""

from pathlib import Path

from pylon.runners.errors import ConfigError, ConfigProblem


def check_source(path: Path) -> None:
    """Check that a configuration file can be read; nothing of it is executed.

    Raises:
        ConfigError: it is absent, is neither Python nor JSON by its name, or has a syntax error.
    """
    if not path.is_file():
        problem = ConfigProblem("--config-filepath", repr(str(path)), "expected an existing file")
        raise ConfigError(path, [problem])
    if path.suffix not in {".py", ".json"}:
        raise ConfigError(path, [ConfigProblem("file", repr(path.suffix), "expected a .py or .json file")])
    if path.suffix == ".py":
        _compile(path)


def _compile(path: Path) -> None:
    try:
        compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
    except SyntaxError as error:
        problem = ConfigProblem(f"line {error.lineno or '?'}", None, f"{type(error).__name__}: {error.msg}")
        raise ConfigError(path, [problem]) from error
    except ValueError as error:  # such as for a null byte, before CPython 3.12
        raise ConfigError(path, [ConfigProblem("file", None, f"is not Python: {error}")]) from error
    except OSError as error:
        raise ConfigError(path, [ConfigProblem("file", None, f"cannot be read: {error}")]) from error
