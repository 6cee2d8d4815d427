"""Classes by name: 'module:Name', and back.

    pylon.models:HANet            the shortest module that offers the class, so that it may move inside
    /exp:nets.unet:UNet           of `nets/unet.py` in the configuration's folder /exp
    /exp/run.py:Mine              of the configuration file itself

Read, but not written: `models.hanet.hanet:HANet`. Run directories from before Pylon's packages were in
`pylon` name the defining module. The class is the one that `pylon.models`, `pylon.models.hanet` or
`pylon.models.hanet.hanet` offers, in this order, unless there is a module of the old name.
"""

import importlib
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from pylon.runners.config import files, folders
from pylon.runners.config.node import children, is_named_function, is_node

# Each was a top-level package before it became `pylon.<package>`.
OLD_PACKAGES = frozenset(
    {"configs", "criteria", "data", "metrics", "models", "monitor", "runners", "storage"}
)


def class_name(cls: Any) -> str:  # noqa: ANN401 - a class or a function
    """The name under which `find_class` finds it again, in another process and after a move."""
    if files.is_config_module(cls.__module__):
        return f"{files.path_of(cls.__module__)}:{cls.__qualname__}"
    module = _public_module(cls)
    folder = folders.folder_of(module)
    return f"{module}:{cls.__qualname__}" if folder is None else f"{folder}:{module}:{cls.__qualname__}"


def find_class(name: str) -> Any:  # noqa: ANN401 - the check reports what is no class
    """What `name` means, in any of the forms above.

    Raises:
        LookupError: there is no such thing; the text gives the reason.
    """
    place, _, qualname = name.rpartition(":")
    if not place:
        raise LookupError(f"expected 'module:Name', not {name!r}")
    try:
        found: Any = _module_at(place, qualname)
        for part in qualname.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # a module's code may raise anything
        raise LookupError(f"{type(error).__name__}: {error}") from error
    return found


def with_present_names(content: Any) -> Any:  # noqa: ANN401 - JSON
    """JSON of a configuration in which each class of a module has the name that `class_name` gives it now.

    A name that is not found stays as it is. So do names of configuration files, which would be executed.
    """
    if not isinstance(content, dict | list):
        return content
    renamed = {key: with_present_names(element) for key, element in children(content)}
    if isinstance(content, list):
        return list(renamed.values())
    if is_node(content) and isinstance(content["class"], str) and place_of(content["class"]) is None:
        renamed["class"] = _present_name(content["class"])
    if is_named_function(content) and place_of(content["function"]) is None:
        renamed["function"] = _present_name(content["function"])
    return renamed


def place_of(name: str) -> Path | None:
    """The configuration file, or the folder, that a class name begins with; None in 'module:Name'."""
    return _parts(name.rpartition(":")[0])[0]


def module_in_pylon(name: str, attribute: str) -> ModuleType | None:
    """The module below `pylon` that offers what was `attribute` of `name` before the packages moved there."""
    parts = name.split(".")
    if parts[0] not in OLD_PACKAGES:
        return None
    for depth in range(1, len(parts) + 1):
        try:
            module = importlib.import_module(".".join(["pylon", *parts[:depth]]))
        except ModuleNotFoundError:
            return None
        if hasattr(module, attribute):
            return module
    return None


def _public_module(cls: Any) -> str:  # noqa: ANN401 - a class or a function
    """The shortest module on the way to the defining one that offers the class."""
    parts, top = cls.__module__.split("."), cls.__qualname__.partition(".")[0]
    defined: Any = getattr(sys.modules.get(cls.__module__), top, None)
    for depth in range(1, len(parts)):
        name = ".".join(parts[:depth])
        module = sys.modules.get(name)
        offered = defined is not None and getattr(module, top, None) is defined
        if offered and top in getattr(module, "__all__", (top,)):
            return name
    return str(cls.__module__)


def _parts(place: str) -> tuple[Path | None, str]:
    """File or folder, and module, of a class name without its last part; either may be absent."""
    if place.endswith(".py") and (":" not in place or Path(place).is_file()):
        return Path(place), ""
    folder, _, module = place.rpartition(":")
    return (Path(folder) if folder else None), module


def _module_at(place: str, qualname: str) -> ModuleType:
    path, module = _parts(place)
    if path is not None:
        return _module_in(path, module) if module else files.module_of(path)
    try:
        return importlib.import_module(module)
    except ImportError:
        former = module_in_pylon(module, qualname.partition(".")[0])
        if former is None:
            raise
        return former


def _module_in(folder: Path, name: str) -> ModuleType:
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    folders.enter(folder)
    module = importlib.import_module(name)
    if folders.folder_of(name) != folder.resolve():
        raise ImportError(f"module {name!r} is found in another place: {module.__file__}", name=name)
    return module


def _present_name(name: str) -> str:
    try:
        found = find_class(name)
    except LookupError:
        return name
    return class_name(found) if isinstance(found, type | FunctionType) else name
