"""`pylon new`: a copy of an example that trains at once, for its user to change."""

import argparse
import json
import re
import shlex
import sys
from importlib import resources
from pathlib import Path

# By kind, the module of `pylon.configs.examples` that is copied.
KINDS = {
    "image-classification": "image_classification",
    "tabular": "tabular",
    "text": "text",
    "two-models": "two_models",
    "own": "own_classes",
}
_FILE = "run.py"
_WORK_DIR = re.compile(r'"work_dir": "[^"]*"')

_DESCRIPTION = """Write FOLDER/run.py: one file with dataset, model and metric, that trains at once.

The docstring of each class in it names what to change. An existing file stays as it is."""

_EPILOG = """examples:
  pylon new mine
  pylon new mine --kind tabular && pylon train --config-filepath mine/run.py

kinds:
  image-classification  pairs of an image and a class (default)
  tabular               rows of numbers and categories, and a number to learn
  text                  texts of any length, and a class
  two-models            two models trained in turn, with an own task, optimizer and trainer
  own                   a class of one's own for every part, masks to learn

exit codes:
  0    written
  1    the file cannot be written
  2    the command line is wrong, or the file exists
"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the parser of `new`."""
    parser = subparsers.add_parser(
        "new",
        help="write a configuration to start from",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="made if it does not exist")
    parser.add_argument(
        "--kind", choices=tuple(KINDS), default="image-classification", help="what to learn from what"
    )


def run(options: argparse.Namespace) -> int:
    """Write the file and return the exit code."""
    path: Path = options.folder / _FILE
    try:
        content = content_of(options.kind, options.folder.resolve().name)
        options.folder.mkdir(parents=True, exist_ok=True)
        _write_new(path, content)
    except FileExistsError:
        if options.folder.is_dir():
            refused, fix = path, "It stays as it is: name another folder, or remove it."
        else:
            refused, fix = options.folder, "It is no folder: name another one."
        sys.stderr.write(f"{_shown(refused)}: exists, expected a file to be made. {fix}\n")
        return 2
    except OSError as error:
        reason = error.strerror or type(error).__name__
        fix = "Name a folder that you may write to, on a disk with space."
        sys.stderr.write(f"{_shown(path)}: cannot be written: {reason}. {fix}\n")
        return 1
    written = _shown(path)
    if written.startswith("-"):  # it would be read as an option
        written = f"./{written}"
    sys.stdout.write(
        f'{written} is written. The docstring of each class has a line "To change". Train it:\n'
        f"pylon train --config-filepath {shlex.quote(written)}\n"
    )
    return 0


def content_of(kind: str, name: str) -> str:
    """The file of a kind.

    Args:
        kind: one of KINDS.
        name: of its run directory.
    """
    example = resources.files("pylon.configs.examples").joinpath(f"{KINDS[kind]}.py")
    work_dir = f'"work_dir": {json.dumps(f"logs/{name}", ensure_ascii=False)}'
    return _WORK_DIR.sub(lambda _: work_dir, example.read_text(encoding="utf-8"))


def _shown(path: Path) -> str:
    """A path as any terminal takes it: a name may be no UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


def _write_new(path: Path, content: str) -> None:
    """Write a file that does not exist yet; nothing is left of one that cannot be written.

    Raises:
        FileExistsError: it exists, perhaps as a link that leads nowhere.
    """
    # A folder's name that is no UTF-8 is written as Python reads it from a literal.
    with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
        try:
            file.write(content)
            file.flush()
        except OSError:
            path.unlink()
            raise
