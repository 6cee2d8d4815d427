"""Which files of a folder are images, and the lines of text files as any system writes them."""

import codecs
from pathlib import Path

from pylon.data.errors import DatasetDamagedError
from pylon.data.image_reading import SUFFIXES

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def image_files(folder: Path) -> dict[str, Path]:
    """The image files of `folder` by name without suffix; {} if there is no such folder.

    Hidden files are left out: macOS adds `._NAME.png` to each file that it copies to a foreign volume.

    Raises:
        DatasetDamagedError: two differ in their suffix alone, or the folder cannot be listed.
    """
    if not folder.is_dir():
        return {}
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetDamagedError(f"{folder}: cannot be listed: {error}.") from error
    for path in paths:
        if path.name.startswith(".") or path.suffix.lower() not in SUFFIXES:
            continue
        if path.stem in found:
            raise DatasetDamagedError(
                f"{folder}: has {found[path.stem].name} and {path.name}, expected one image of each name. "
                "Remove one."
            )
        found[path.stem] = path
    return found


def read_lines(path: Path) -> list[str]:
    """The lines of a text file in UTF-8 or, if it begins with a byte order mark, UTF-16; any line ends.

    Raises:
        DatasetDamagedError: it cannot be read, or is in another encoding.
    """
    try:
        content = path.read_bytes()
        encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
        return content.decode(encoding).splitlines()
    except OSError as error:
        raise DatasetDamagedError(f"{path}: cannot be read: {error}.") from error
    except UnicodeDecodeError as error:
        raise DatasetDamagedError(
            f"{path}: byte {error.start} is not {encoding}. Save it as UTF-8: iconv -f latin1 -t utf-8."
        ) from error
