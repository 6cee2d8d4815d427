"""The packages of `pylon` are links to the folders next to it; some ways of copying lose links."""

from pathlib import Path

_HERE = Path(__file__).absolute().parent


def lost_link(error: ModuleNotFoundError) -> str | None:
    """Why a package of Pylon cannot be imported if this copy has a file in the place of its link.

    Args:
        error: what the import raised.
    """
    parent, _, name = (error.name or "").partition(".")
    place = _HERE / name.partition(".")[0]
    if parent != "pylon" or not name or place.is_symlink() or not place.is_file():
        return None
    return (
        f"{place} is a file, expected a link to the folder {place.name!r}: this copy of Pylon has lost its "
        "links. Copy it with git clone, cp -r or tar to a file system that has links, or install its wheel."
    )
