"""What to do about an import that fails in a configuration."""

import ast
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path

from pylon.runners.config import folders
from pylon.runners.config.names import OLD_PACKAGES, module_in_pylon


def old_import(error: ImportError) -> str | None:
    """What to write in place of an import of Pylon from before its packages were in `pylon`.

    Args:
        error: what the import raised; in a checkout by the package itself, in an installation by Python.

    Returns:
        None if it is another import, or the user has a module of this name.
    """
    package = (error.name or "").partition(".")[0]
    if package not in OLD_PACKAGES or getattr(sys.modules.get(package), "__file__", None) is not None:
        return None
    return f"imports {package!r}, which is 'pylon.{package}': write {_present_statement(error, package)}"


def advice(error: ImportError) -> str | None:
    """How to fix another import that raised `error`; None if there is nothing to add to its text."""
    top = (error.name or "").partition(".")[0]
    for folder in folders.entered():
        own = folder / f"{top}.py"
        if top in sys.stdlib_module_names and own.is_file():
            return f"{top!r} is a module of Python, which is found before {own}: rename this file"
    if isinstance(error, ModuleNotFoundError):
        return "Put the module next to the configuration, or its folder into PYTHONPATH"
    return None


def _present_statement(error: ImportError, package: str) -> str:
    """The import statement of the user that led to `error`, with present names."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        statements = [
            statement
            for node in _imports_at(Path(frame.filename), frame.lineno or 0)
            for statement in _present(node, package)
        ]
        if statements:
            return "'" + "; ".join(statements) + "'"
    return f"'from pylon.{package} import ...'"


def _imports_at(path: Path, line: int) -> Iterator[ast.Import | ast.ImportFrom]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return  # a frame without a file, such as of importlib
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom) and node.lineno <= line <= (node.end_lineno or 0):
            yield node


def _present(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """Statements in place of `node`, if it imports from what was the top-level `package`."""
    if isinstance(node, ast.Import):
        if any(alias.name.partition(".")[0] == package for alias in node.names):
            yield f"from pylon import {package}"
    elif not node.level and node.module and node.module.partition(".")[0] == package:
        names: dict[str, list[str]] = {}
        for alias in node.names:
            module = module_in_pylon(node.module, alias.name)
            names.setdefault(module.__name__ if module else f"pylon.{node.module}", []).append(alias.name)
        yield from (f"from {module} import {', '.join(found)}" for module, found in names.items())
