"""A dataset without datapoints: what was looked for, where, and what is there instead."""

from collections.abc import Sized
from pathlib import Path

from pylon.data.errors import EmptyDatasetError
from pylon.data.located import length_of

_SHOWN = 5


def refuse_empty(dataset: Sized, name: str) -> None:
    """Raise EmptyDatasetError if `dataset` has no datapoint, with the place where it looked for them.

    Args:
        dataset: any with a length; `data_root` and `split`, if it has these, are named.
        name: of its entry in the configuration.
    """
    if length_of(dataset) > 0:
        return
    kind, root, split = type(dataset).__name__, getattr(dataset, "data_root", None), _split_of(dataset)
    if root is None:
        raise EmptyDatasetError(f"{name}: {kind}{split} has no datapoint (its length is 0), expected some.")
    folder = Path(root).absolute()
    if not folder.exists():
        raise EmptyDatasetError(
            f"{name}: {kind}{split} has no datapoint: data_root {folder} does not exist. Give the folder of "
            f"the data in {name}.args.data_root."
        )
    raise EmptyDatasetError(
        f"{name}: {kind}{split} has no datapoint: data_root {folder} has {shown_entries(folder)}, of which "
        f"{kind}._list_datapoints takes none. Check {name}.args.data_root, the split, and what it leaves out."
    )


def shown_entries(folder: Path) -> str:
    """What is in a folder, for a message: a few names and how many there are."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        return f"nothing that can be listed ({error.strerror})"
    if not names:
        return "no files"
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    return f"{len(names)} {'file or folder' if len(names) == 1 else 'files and folders'} ({shown})"


def _split_of(dataset: object) -> str:
    split = getattr(dataset, "split", None)
    return f" of split {split!r}" if isinstance(split, str) else ""
