"""Manifests: the size and SHA-256 of files, next to them, so that damage is recognised and named.

Written before the file it vouches for is renamed into place: a checkpoint that is there has its
manifest, whatever killed the writer.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.storage.atomic import write_json

_FORMAT = 1


class DamagedFileError(Exception):
    """A file does not match its manifest, or the manifest itself is not one."""


def describe_file(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The size in bytes and the SHA-256 of a file, as a manifest has them."""
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


def write_manifest(manifest: str | os.PathLike[str], files: Mapping[str, dict[str, Any]]) -> None:
    """Write a manifest atomically.

    Args:
        manifest: the JSON file to write; it vouches for files of its own folder.
        files: by file name, what `describe_file` gave.

    Raises:
        OSError: as `atomic_path`.
    """
    write_json(manifest, {"format": _FORMAT, "files": dict(files)})


def verify_manifest(manifest: str | os.PathLike[str], only: str | None = None) -> None:
    """Compare the files of a manifest with those in its folder.

    Args:
        manifest: the manifest; its files are in its folder.
        only: the one file to compare; None: all.

    Raises:
        FileNotFoundError: there is no such manifest.
        DamagedFileError: a file is absent or differs, or the manifest cannot be read; the text names it.
    """
    manifest = Path(manifest)
    text = manifest.read_bytes()
    try:
        content = json.loads(text)
        version, files = content["format"], dict(content["files"])
        expected = {_own_name(name): (entry["bytes"], entry["sha256"]) for name, entry in files.items()}
        expected = expected if only is None else {only: expected[only]}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedFileError(f"{manifest}: is no manifest: {error!r}") from error
    if version != _FORMAT:
        raise DamagedFileError(f"{manifest}: is of format {version!r}, this version reads {_FORMAT}")
    for name, (size, digest) in expected.items():
        path = manifest.with_name(name)
        try:
            seen_size = path.stat().st_size
            # A truncated file is recognised by its size, without reading it.
            seen = describe_file(path)["sha256"] if seen_size == size else None
        except OSError as error:
            raise DamagedFileError(f"{path}: cannot be read: {error}") from error
        if seen_size != size:
            raise DamagedFileError(f"{path}: has {seen_size} bytes, its manifest has {size}")
        if seen != digest:
            raise DamagedFileError(f"{path}: its SHA-256 is {seen}, its manifest has {digest}")


def _own_name(name: str) -> str:
    """The name of a file in the manifest's own folder. Raises ValueError if it would lead out of it."""
    if name in {"", ".", ".."} or "/" in name or "\0" in name:
        raise ValueError(f"{name!r} is not the name of a file in this folder")
    return name
