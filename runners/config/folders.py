"""The folder of a configuration: modules next to the file are imported by their plain names.

    sys.path:  Python's standard library, the configuration's folder, all other entries

So `from models import MyNet` finds `models.py` next to the configuration in every process of the run:
multiprocessing hands `sys.path` to loader workers, and the monitors' supervisor takes it over. The
standard library stays first, because torch would import a `random.py` from that folder in a worker.
A folder that was entered has an entry in `sys.modules`, as a configuration file has one (`files`).
"""

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from pylon.runners.errors import ConfigError, ConfigProblem


class _Entered(ModuleType):
    """The entry of a folder in `sys.modules`.

    Args:
        folder: absolute.
        on_path: `sys.path` had it already.

    Attributes:
        former: names of the modules that were imported from it before.
    """

    def __init__(self, folder: Path, *, on_path: bool) -> None:
        super().__init__(f"{__name__}.{folder}")
        self.folder = folder
        self.on_path = on_path
        self.former = frozenset(_modules_in(folder))


def enter(folder: Path) -> None:
    """Let the modules in `folder` be found by their plain names, until `leave_others` is called without it.

    Raises:
        ConfigError: a module in it has the name of a package that is loaded from another place.
    """
    folder = folder.resolve()
    if folder in entered():
        return
    _refuse_taken_names(folder)
    entry = _Entered(folder, on_path=str(folder) in sys.path)
    sys.modules[entry.__name__] = entry
    library = [place for place in sys.path if _is_of_python(place)]
    others = [place for place in sys.path if place not in {*library, str(folder)}]
    sys.path[:] = [*library, str(folder), *others]


def leave_others(folders: set[Path]) -> None:
    """Leave each entered folder that is not in `folders`, and forget the modules that were found there."""
    kept = {folder.resolve() for folder in folders}
    for entry in _entries():
        if entry.folder in kept:
            continue
        for name in [name for name in _modules_in(entry.folder) if name not in entry.former]:
            del sys.modules[name]
        if not entry.on_path and str(entry.folder) in sys.path:
            sys.path.remove(str(entry.folder))
        del sys.modules[entry.__name__]


def entered() -> list[Path]:
    """The folders that were entered and not left."""
    return [entry.folder for entry in _entries()]


def folder_of(name: str) -> Path | None:
    """The entered folder from which the module `name` was imported by its plain name."""
    top = name.partition(".")[0]
    if top not in sys.modules:
        return None
    return next((folder for folder in entered() if _is_in(top, sys.modules[top], folder, {})), None)


def module_files() -> Iterator[Path]:
    """The files of the modules that were imported from entered folders."""
    for folder in entered():
        for name in _modules_in(folder):
            file = getattr(sys.modules[name], "__file__", None)
            if file is not None:
                yield Path(file)


def _entries() -> list[_Entered]:
    return [module for module in list(sys.modules.values()) if isinstance(module, _Entered)]


def _modules_in(folder: Path) -> list[str]:
    """The names of the loaded modules that lie in `folder`, at any depth."""
    loaded, known = list(sys.modules.items()), dict[str, Path]()
    tops = {name for name, module in loaded if "." not in name and _is_in(name, module, folder, known)}
    return [name for name, _ in loaded if name.partition(".")[0] in tops]


def _is_in(name: str, module: ModuleType, folder: Path, known: dict[str, Path]) -> bool:
    """Whether a top-level module lies in `folder`; Pylon itself never counts."""
    return name not in {"pylon", "__main__"} and folder in _places(module, known)


def _places(module: ModuleType, known: dict[str, Path]) -> list[Path]:
    """The folders in which a top-level module lies; several for a namespace package.

    Args:
        module: loaded.
        known: folders and where they really are, for more modules of the same folders; is added to.
    """
    file = getattr(module, "__file__", None)
    packages = list(getattr(module, "__path__", ()))
    return [_place(Path(entry), known) for entry in packages or ([file] if file is not None else [])]


def _place(entry: Path, known: dict[str, Path]) -> Path:
    # Hundreds of modules lie in the same few folders, and each link on the way costs a look at the disk.
    if entry.is_symlink():
        return entry.resolve().parent
    parent = str(entry.parent)
    if parent not in known:
        known[parent] = entry.parent.resolve()
    return known[parent]


def _refuse_taken_names(folder: Path) -> None:
    """Raise ConfigError if a module in `folder` has the name of another one that this process has loaded."""
    taken = {
        name: module
        for name, module in sorted(sys.modules.items())
        if "." not in name
        and name not in sys.stdlib_module_names | {"__main__"}
        and getattr(module, "__file__", None) is not None
    }
    known = dict[str, Path]()
    problems = [
        ConfigProblem(
            str(file),
            None,
            f"has the name of the package {name!r} that this process has loaded from {module.__file__}: "
            "rename the file, or keep the configuration in another folder",
        )
        for name, module in taken.items()
        for file in (folder / f"{name}.py", folder / name / "__init__.py")
        if file.is_file() and folder not in _places(module, known)
    ]
    if problems:
        raise ConfigError(folder, problems)


def _is_of_python(entry: str) -> bool:
    """Whether an entry of `sys.path` is the standard library's."""
    return Path(entry) == Path(sysconfig.get_path("stdlib")) or Path(entry).name == "lib-dynload"
