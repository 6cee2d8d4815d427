"""Put the demo data set on the disk: whole, or not at all."""

import contextlib
import fcntl
import io
import json
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from pylon.data.change_detection.air_change_crops import IMAGE_HEIGHT, IMAGE_WIDTH
from pylon.data.change_detection.air_change_files import CASES
from pylon.data.change_detection.demo.scene import draw_scene
from pylon.data.errors import DataError
from pylon.storage import open_unlinked, write_bytes, write_json

MANIFEST = "demo.json"

# Grows with every change of what a seed gives.
_VERSION = 2
# As in the real archive.
_UPPER_CASE = {"Szada/5/im2", "Szada/6/gt", "Szada/7/im1"}
_STRAY_GREYS = {"Szada/6": (213,), "Tiszadob/4": (21, 57, 66, 105, 144, 189, 192, 252)}

Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


def write_demo(root: Path, seed: int = 0, progress: Progress | None = None) -> bool:
    """Write the twelve pairs, unless this demo is there already.

    The data set is built next to its place and renamed, so `root` is complete or absent whatever
    ends the process. Of several callers one builds and the others wait for it.

    Args:
        root: folder to make.
        seed: 0 or more; everything follows from it, to the last bit (same machine, same libraries).
        progress: called with the number of cases done and their total, after each.

    Returns:
        Whether anything was written.

    Raises:
        DataError: `root` holds something else.
        OSError: the disk refuses; nothing is left in `root`.
    """
    if root.exists():
        _require_same(root, seed)
        return False
    root.parent.mkdir(parents=True, exist_ok=True)
    with _sole_builder(root):
        if root.exists():
            _require_same(root, seed)
            return False
        _remove_unfinished(root)
        building = root.with_name(f"{_prefix(root)}{secrets.token_hex(8)}.tmp")
        try:
            _build(building, seed, progress)
            building.rename(root)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return True


def _build(building: Path, seed: int, progress: Progress | None) -> None:
    for number, case in enumerate(CASES):
        _write_case(building, case, np.random.default_rng([seed, number]))
        logger.info("demo data: %s (%d of %d)", case, number + 1, len(CASES), extra={"case": case})
        if progress is not None:
            progress(number + 1, len(CASES))
    write_json(building / MANIFEST, {"version": _VERSION, "seed": seed})


def _write_case(folder: Path, case: str, generator: np.random.Generator) -> None:
    scene = draw_scene(IMAGE_WIDTH, IMAGE_HEIGHT, generator)
    label = scene.change.copy()
    for grey in _STRAY_GREYS.get(case, ()):
        label[generator.integers(IMAGE_HEIGHT), generator.integers(IMAGE_WIDTH)] = grey
    for name, pixels in (("im1", scene.first), ("im2", scene.second), ("gt", label)):
        suffix = ".BMP" if f"{case}/{name}" in _UPPER_CASE else ".bmp"
        write_bytes(folder / case / f"{name}{suffix}", _bmp(pixels))


def _bmp(pixels: npt.NDArray[np.uint8]) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, format="BMP")
    return content.getvalue()


@contextlib.contextmanager
def _sole_builder(root: Path) -> Iterator[None]:
    """Be the only one that builds this data set; the kernel opens the lock of a process that dies."""
    descriptor = open_unlinked(root.with_name(f"{_prefix(root)}lock"), os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("demo data: another process is writing %s; waiting for it", root)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_unfinished(root: Path) -> None:
    """Remove what killed builders left behind: under the lock, there is no other builder."""
    for path in root.parent.glob(f"{_prefix(root)}*.tmp"):
        shutil.rmtree(path, ignore_errors=True)


def _prefix(root: Path) -> str:
    return f".{root.name}."


def _require_same(root: Path, seed: int) -> None:
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if manifest != {"version": _VERSION, "seed": seed}:
        held = (
            "something that is not a demo data set" if manifest is None else f"a demo data set of {manifest}"
        )
        raise DataError(
            f"{root}: holds {held}, expected version {_VERSION} of seed {seed}. "
            "Move it away, or give another folder."
        )
