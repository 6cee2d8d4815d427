"""Which commit of which repository a run was started from: Pylon's own, and that of its configuration.

Commit and whether something differs from it; never an address of a remote, which may hold a password.
"""

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

_TIMEOUT_S = 10.0
_PYLON = Path(__file__).resolve().parents[2]
_MEMBER = "runners/launch/repositories.py"
# Set in a hook of git, and then of another repository.
_OF_A_HOOK = frozenset({"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_PREFIX"})


def commit_of_pylon(root: Path = _PYLON) -> dict[str, Any] | None:
    """The commit of Pylon's own repository and whether it is dirty; None if Pylon is installed without one.

    An installed Pylon may lie inside a repository of the user, whose commit is not Pylon's.

    Args:
        root: where Pylon lies.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if (
        top is None
        or Path(top).resolve() != root
        or _git(root, "ls-files", "--error-unmatch", _MEMBER) is None
    ):
        return None
    commit = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain")
    return None if commit is None else {"commit": commit, "dirty": None if changes is None else bool(changes)}


def commits_of(files: Iterable[Path]) -> list[dict[str, Any]]:
    """The repositories that hold some files: `root`, `commit`, and `dirty`, None if git cannot tell it.

    A repository is dirty if a file that it holds has changed, or one of `files` is not in it. Other files,
    such as the outputs of runs, do not count.
    """
    by_root: dict[str, list[Path]] = {}
    tops: dict[Path, str | None] = {}
    for file in sorted(path.resolve() for path in files):
        if file.parent not in tops:
            tops[file.parent] = _git(file.parent, "rev-parse", "--show-toplevel")
        top = tops[file.parent]
        if top is not None:
            by_root.setdefault(top, []).append(file)
    return [_described(Path(root), found) for root, found in by_root.items()]


def _described(root: Path, files: list[Path]) -> dict[str, Any]:
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    untracked = _git(root, "ls-files", "--error-unmatch", "--", *map(str, files)) is None
    dirty = None if changes is None else bool(changes) or untracked
    return {"root": str(root), "commit": _git(root, "rev-parse", "--verify", "HEAD"), "dirty": dirty}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints; None if it fails: no repository, no git, or a repository that another user owns."""
    kept = {name: value for name, value in os.environ.items() if name not in _OF_A_HOOK}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=_TIMEOUT_S,
            check=True,
            env={**kept, "GIT_OPTIONAL_LOCKS": "0"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
