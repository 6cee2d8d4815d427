"""One decoded copy of images on a machine, for all workers, ranks and runs of a user.

files ── digest of their bytes and of the code that decodes ──> FOLDER/DIGEST.arrays ── mapped ──> arrays
                                                        └─ absent or damaged: decode, write, rename
"""

import logging
import mmap
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import PIL
from PIL import features

from pylon.data.array_file import (
    AnyArrays,
    DamagedArraysError,
    can_be_written,
    read_arrays,
    size_in_file,
    write_arrays,
)
from pylon.data.content_digest import (
    ContentDigests,
    UnknownSourceError,
    code_files,
    joined,
    package_files,
)
from pylon.data.decoded_folder import SUFFIX, DecodedFolder
from pylon.storage import PlantedError, with_home

ENVIRONMENT = "PYLON_DECODED"

_DEFAULT_CAPACITY_BYTES = 20 * 2**30
_MARKED_USED_EVERY_S = 3600.0
_TOLD_USED, _TOLD_TROUBLE = range(2)
# Libraries below Pillow whose versions may decode to other bits.
_CODECS = ("jpg", "libjpeg_turbo", "webp", "libtiff")

logger = logging.getLogger(__name__)


class DecodedCopy:
    """Arrays that were decoded from files, in a folder on the disk: the `cache` of a dataset.

    An entry is found by what the files hold, not by their names, and by the code that decodes them. So it is
    made again if one of these changes; bits are the same with and without. What cannot be written (a full or
    read-only disk, a folder of another user) is decoded at every access, after one line in the log.

    Args:
        folder: on a local disk; None: `pylon/decoded` in $XDG_CACHE_HOME or in ~/.cache.
        capacity_bytes: of all entries together, at least 1. What was not used for a day makes room.

    Raises:
        ValueError: a size below 1.
    """

    def __init__(
        self, folder: str | Path | None = None, capacity_bytes: int = _DEFAULT_CAPACITY_BYTES
    ) -> None:
        if capacity_bytes < 1:
            raise ValueError(f"capacity_bytes: {capacity_bytes}, expected at least 1.")
        place = _default_folder() if folder is None else with_home(folder)
        self._folder = DecodedFolder(place.absolute(), capacity_bytes)
        self._begin()

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that was not forked begins without what this one knows."""
        return DecodedCopy, (self._folder.path, self._folder.capacity_bytes)

    @classmethod
    def of_environment(cls) -> "DecodedCopy | None":
        """The copy in $PYLON_DECODED; None if that is not set."""
        folder = os.environ.get(ENVIRONMENT)
        return cls(folder) if folder else None

    def arrays(
        self, files: Sequence[Path], reading: str, owner: type, load: Callable[[], AnyArrays]
    ) -> AnyArrays:
        """`load()`, or what it gave before, in any process; read-only then.

        Args:
            files: all files that `load` reads.
            reading: what else the result depends on.
            owner: the dataset's class.
            load: decodes them.
        """
        if not files or not self._is_usable():
            return load()
        try:
            name = self._name(files, reading, owner, load)
        except UnknownSourceError as error:
            self._report_trouble(str(error))
            return load()
        except OSError:
            return load()  # which reports the file
        found = self._found(name)
        if found is not None:
            return found
        loaded = load()
        try:
            # Not under the name of what the files held before.
            if can_be_written(loaded) and self._name(files, reading, owner, load) == name:
                self._keep(name, loaded)
        except OSError as error:
            self._report_trouble(f"{self._folder.path}: {error}")
        return loaded

    def _begin(self) -> None:
        self._usable: bool | None = None
        self._writable = True
        self._digests = ContentDigests()
        self._code: dict[tuple[type, Any], str] = {}
        self._whole: set[str] = set()
        # Shared with the workers that are forked: what one has logged, the others need not.
        self._told = mmap.mmap(-1, mmap.PAGESIZE)

    def _is_usable(self) -> bool:
        if self._usable is None:
            try:
                self._folder.provide()
                self._usable = True
            except OSError as error:
                self._usable = False
                self._report_trouble(str(error))
        return self._usable

    def _name(self, files: Sequence[Path], reading: str, owner: type, load: Callable[..., object]) -> str:
        content = [self._digests.of(path) for path in files]
        return joined([*content, reading, self._code_digest(owner, load)])

    def _code_digest(self, owner: type, load: Callable[..., object]) -> str:
        key = owner, getattr(load, "__code__", None)
        if key not in self._code:
            files = [*package_files(Path(__file__).parent), *code_files(owner, load)]
            versions = [PIL.__version__, *(str(features.version(name)) for name in _CODECS)]
            digests = [self._digests.of(path) for path in files]
            self._code[key] = joined([owner.__qualname__, *versions, *digests])
        return self._code[key]

    def _found(self, name: str) -> AnyArrays | None:
        path = self._folder.path / f"{name}{SUFFIX}"
        is_first = name not in self._whole
        try:
            arrays = read_arrays(path, check=is_first)
            if is_first:
                self._whole.add(name)
                self._mark_used(path)
        except FileNotFoundError:
            return None
        except DamagedArraysError as error:
            logger.warning("a decoded copy is damaged, and made again: %s", error)
            path.unlink(missing_ok=True)
            return None
        except PlantedError as error:
            self._report_trouble(str(error))
            self._usable = False
            return None
        except OSError:
            return None
        return arrays

    def _keep(self, name: str, arrays: AnyArrays) -> None:
        size = size_in_file(arrays)
        if not self._writable or not self._usable:
            return
        reason = self._folder.why_no_room(size)
        if reason:
            self._report_trouble(f"{self._folder.path}: {reason}")
            return
        self._report_use()
        write_arrays(self._folder.path / f"{name}{SUFFIX}", arrays)
        self._folder.note_added(size)

    def _mark_used(self, path: Path) -> None:
        if time.time() - path.stat().st_mtime > _MARKED_USED_EVERY_S:
            os.utime(path)

    def _report_use(self) -> None:
        if self._told[_TOLD_USED]:
            return
        self._told[_TOLD_USED] = 1
        logger.info(
            "decoded images are kept in %s: %.1f GiB now, at most %.1f GiB",
            self._folder.path,
            self._folder.used_bytes / 2**30,
            self._folder.capacity_bytes / 2**30,
        )

    def _report_trouble(self, reason: str) -> None:
        self._writable = False
        if self._told[_TOLD_TROUBLE]:
            return
        self._told[_TOLD_TROUBLE] = 1
        logger.warning("no further decoded images are kept, they are decoded at every access: %s", reason)


def _default_folder() -> Path:
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return with_home(caches) / "pylon" / "decoded"
