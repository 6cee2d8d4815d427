"""Configuration files as modules that any process can import: the name of one holds its path.

    /home/me/run.py  <──>  pylon.runners.config.files._2fhome_2fme_2frun_2epy

Objects travel to loader workers with the name of their class's module and nothing else. Under 'spawn'
and 'forkserver' a worker has that name alone to find a class of a configuration file with.
"""

import hashlib
import importlib
import importlib.abc
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from pylon.runners.config import folders

# It makes this module a package: the configuration files are its modules.
__path__: list[str] = []

_PREFIX = f"{__name__}."


def module_name(path: Path) -> str:
    """The name of the module that is made of the file `path`: an identifier below this package."""
    encoded = os.fsencode(path.resolve())
    letters = (chr(byte) if chr(byte).isalnum() and byte < 128 else f"_{byte:02x}" for byte in encoded)
    return _PREFIX + "".join(letters)


def is_config_module(name: str) -> bool:
    """Whether a module of this name is a configuration file's."""
    return name.startswith(_PREFIX)


def path_of(name: str) -> Path:
    """The file of a configuration file's module."""
    encoded = name.removeprefix(_PREFIX).encode("ascii")
    return Path(
        os.fsdecode(re.sub(rb"_([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), encoded))
    )


def module_of(path: Path) -> ModuleType:
    """The module of a configuration file, executed unless this process has it; its folder is entered before.

    Raises:
        ConfigError: its folder cannot be entered.
        Exception: whatever the file raises.
    """
    folders.enter(path.resolve().parent)
    return importlib.import_module(module_name(path))


def file_digests() -> dict[str, str]:
    """SHA-256 of each configuration file that this process has executed and of its own modules, by path."""
    paths = [path_of(name) for name in sys.modules if is_config_module(name)] + [*folders.module_files()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if path.is_file()}


def forget(path: Path) -> None:
    """Let the file be executed again at the next import of its module."""
    sys.modules.pop(module_name(path), None)


class _SourceLoader(SourceFileLoader):
    """Compiles the file as it is now, and leaves no `__pycache__` next to it.

    Compiled files are matched by size and by the second of the last change: a script that writes `lr = 1` and
    then `lr = 2` into one file could run the former.
    """

    def get_code(self, fullname: str) -> CodeType:
        """See importlib."""
        path = self.get_filename(fullname)
        return compile(self.get_data(path), path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules below this package, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See importlib."""
        del path, target
        if not is_config_module(fullname):
            return None
        path_text = str(path_of(fullname))
        return importlib.util.spec_from_file_location(
            fullname, path_text, loader=_SourceLoader(fullname, path_text)
        )


# On import, because a loader worker imports this package by name and calls nothing in it.
sys.meta_path.append(_Finder())
