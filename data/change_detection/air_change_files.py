"""Find the files of an AirChange copy, and name what is missing."""

from pathlib import Path

from pylon.data.errors import DatasetDamagedError, DatasetNotFoundError

CASES = tuple(f"Szada/{number}" for number in range(1, 8)) + tuple(
    f"Tiszadob/{number}" for number in range(1, 6)
)

Triple = tuple[Path, Path, Path]

_FILES = ("im1", "im2", "gt")


def find_files(root: Path) -> list[Triple]:
    """im1, im2 and gt of each of CASES, whatever upper and lower case their names have.

    They may lie in `root` itself or in the one folder that an archive unpacked into it.
    Anything else under `root` is left alone: the archive has a thirteenth pair that no protocol uses.

    Raises:
        DatasetNotFoundError: none of the files is there; the text explains how to get them.
        DatasetDamagedError: some files are missing, or a name is there twice.
    """
    root = _unpacked(root)
    missing: list[str] = []
    triples: list[Triple] = []
    for case in CASES:
        place, number = case.split("/")
        folder = _entry(_entry(root, place), number)
        paths = [_entry(folder, f"{name}.bmp") for name in _FILES]
        missing += [f"{case}/{name}.bmp" for name, path in zip(_FILES, paths, strict=True) if path is None]
        first, second, label = paths
        if first and second and label:
            triples.append((first, second, label))
    if len(missing) == len(CASES) * len(_FILES):
        raise DatasetNotFoundError(_how_to_get(root))
    if missing:
        raise DatasetDamagedError(
            f"{root}: {len(missing)} of {len(CASES) * len(_FILES)} AirChange files are missing: "
            f"{', '.join(missing)}. Unpack the archive again."
        )
    return triples


def _unpacked(root: Path) -> Path:
    """`root`, or the only folder in it that has a place of the benchmark, where `root` itself has none."""
    places = {case.partition("/")[0] for case in CASES}
    if not root.is_dir() or any(_entry(root, place) for place in places):
        return root
    below = [
        folder
        for folder in sorted(root.iterdir())
        # An archive that macOS has made holds a second, hollow tree in __MACOSX.
        if not folder.name.startswith((".", "__MACOSX")) and any(_entry(folder, place) for place in places)
    ]
    return below[0] if len(below) == 1 else root


def _entry(folder: Path | None, name: str) -> Path | None:
    """What `folder` has under `name`, upper and lower case being the same."""
    if folder is None or not folder.is_dir():
        return None
    try:
        matches = sorted(path for path in folder.iterdir() if path.name.lower() == name.lower())
    except OSError as error:
        raise DatasetDamagedError(f"{folder}: cannot be listed: {error}.") from error
    if len(matches) > 1:
        names = ", ".join(path.name for path in matches)
        raise DatasetDamagedError(
            f"{folder}: holds {names}, which differ in upper and lower case alone. Keep one."
        )
    return matches[0] if matches else None


def _how_to_get(root: Path) -> str:
    return (
        f"AirChange was looked for in {root.absolute()} and is not there: expected Szada/1 to 7 and "
        "Tiszadob/1 to 5, each with im1.bmp, im2.bmp and gt.bmp.\n"
        "Get it: the owner, SZTAKI (Machine Perception Research Laboratory, MPLab, 'SZTAKI AirChange "
        "Benchmark set'), gives the archive's password out on request, free for scientific use.\n"
        "Cite: C. Benedek, T. Sziranyi, IEEE TGRS 47(10), 2009, and ICPR 2008.\n"
        "Data elsewhere: set PYLON_DATASETS to the folder that holds air_change/.\n"
        "Without the data: `make run` trains on a generated data set in the same layout."
    )
