"""What of a run is on its disk, after an error of that disk: looked up there, and not remembered."""

import errno
from typing import Any

from pylon.runners.errors import RunDirectoryError
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.newest import find_newest

_ROOM = "Make room on the disk of {}"
_FIXES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "Lift the limit on the size of files (ulimit -f) for {}",
}


def disk_error(error: OSError, directory: RunDirectory) -> RunDirectoryError:
    """The error for the user: what the disk refused, what is on it, and what to do."""
    fix = _FIXES.get(error.errno or 0, "Repair the disk or the permissions of {}").format(directory.root)
    return RunDirectoryError(f"{error}. {_kept(directory)}{fix} and repeat the command.")


def _kept(directory: RunDirectory) -> str:
    """A sentence, with a space after it, on what the next launch resumes from; none if nothing is trained."""
    try:
        epochs = (directory.read_object(directory.config) or {}).get("epochs")
        if not isinstance(epochs, int):
            return ""
        found = find_newest(directory, set_aside=False)
    except (OSError, RunDirectoryError, MemoryError) as error:
        return f"What is kept of the run is not known: {str(error) or type(error).__name__} "
    if found is None:
        return "No checkpoint of this run is on the disk: nothing of its training is kept. "
    progress = found.content["progress"]
    after = "" if progress["epoch"] == epochs else "; nothing that came after it is on the disk"
    return f"{_position(progress, epochs)} kept, with {found.path}{after}. "


def _position(progress: dict[str, Any], epochs: int) -> str:
    """The subject and the verb of the sentence, as in 'Epoch 1 of 4 and 3 steps of epoch 2 are'."""
    finished, steps = progress["epoch"], progress.get("step", 0)
    done = f"Epoch 1 of {epochs}" if finished == 1 else f"Epochs 1 to {finished} of {epochs}"
    if not steps:
        return f"{done} is" if finished == 1 else f"{done} are"
    running = f"epoch {finished + 1}" if finished else f"epoch 1 of {epochs}"
    what = f"the training of {running}" if progress.get("trained") else f"{steps} steps of {running}"
    if finished:
        return f"{done} and {what} are"
    return f"{what[0].upper()}{what[1:]} {'is' if progress.get('trained') or steps == 1 else 'are'}"
