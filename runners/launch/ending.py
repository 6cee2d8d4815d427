"""How a run ended, for people: in `state.json`, in the log, and as an error that can be read."""

import contextlib
import errno
import logging
import traceback
from collections.abc import Iterator, Sequence

from pylon.data.errors import DataError
from pylon.masking import masked_text
from pylon.runners.distributed import World
from pylon.runners.errors import (
    EndedByPeerError,
    PeerLostError,
    PylonError,
    RunStopped,
    TrainingError,
)
from pylon.runners.launch.kept import disk_error
from pylon.runners.launch.sign_of_life import SignOfLife
from pylon.runners.logs import tracebacks
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.user_code import explanation, message

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG})

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def state_noted(directory: RunDirectory, world: World, secrets: Sequence[str] = ()) -> Iterator[SignOfLife]:
    """Keep `state.json` true: running inside the block, and after it how the run ended.

    What the run did not expect (a bug in a dataset, out of memory, a full disk) becomes an error
    of our own; its traceback goes to the run's log. The `secrets` of the configuration are shown in neither.

    Yields:
        What notes, on the rank that writes, that the run is finished.
    """
    life = SignOfLife(directory)
    world.on_writer(life.begin)
    try:
        yield life
    except KeyboardInterrupt:
        _note(life, directory, world, "preempted", signal="SIGINT")
        raise
    except RunStopped as stopped:
        _note(life, directory, world, "preempted", signal=stopped.signal_name)
        if directory.is_debug:
            stopped = RunStopped(stopped.signal_name, "a --debug run starts from scratch each time")
        if world.writes:
            logger.warning("%s: %s", directory.root, stopped)
        raise stopped from None
    except EndedByPeerError:
        raise
    except (Exception, SystemExit) as error:  # a user's sys.exit() is no end of the run
        readable = _understood(world.explain(error), directory, secrets)
        located = readable is error and _located(error, directory, secrets)
        unexpected = "".join(traceback.format_exception(error)) if readable is not error or located else ""
        if isinstance(readable, PeerLostError):
            unexpected += readable.traceback
        if unexpected:
            tracebacks.debug("unexpected error\n%s", unexpected)
        text = masked_text(str(readable), secrets).partition("\nThe traceback is in ")[0]
        _note(life, directory, world, "failed", error=text)
        if readable is error:
            raise
        raise readable from error
    finally:
        life.stop()


def _understood(error: BaseException, directory: RunDirectory, secrets: Sequence[str]) -> BaseException:
    """An error that the user can read."""
    if isinstance(error, DataError):
        text = masked_text(str(error), secrets)
        return error if text == str(error) else type(error)(text)  # it may show what was raised
    if isinstance(error, PylonError):
        return error
    if isinstance(error, OSError) and _is_of_the_disk(error, directory):
        return disk_error(error, directory)
    lines = [message(error), *(f"  {line}" for line in explanation(error))]
    return TrainingError("\n".join([*_masked(lines, secrets), f"The traceback is in {directory.log}"]))


def _located(error: BaseException, directory: RunDirectory, secrets: Sequence[str]) -> bool:
    """Note on an error of ours where the user's code raised its cause; whether that is known."""
    lines = [] if error.__cause__ is None else explanation(error.__cause__)
    for line in _masked(lines, secrets):
        error.add_note(f"  {line}")
    if lines:
        error.add_note(f"The traceback is in {directory.log}")
    return bool(lines)


def _masked(lines: Sequence[str], secrets: Sequence[str]) -> list[str]:
    return [masked_text(line, secrets) for line in lines]


def _is_of_the_disk(error: OSError, directory: RunDirectory) -> bool:
    return error.errno in _DISK_ERRORS or str(error.filename).startswith(str(directory.root))


def _note(life: SignOfLife, directory: RunDirectory, world: World, state: str, **details: object) -> None:
    if not world.writes:
        return
    try:
        life.end(state, **details)
    except OSError as error:
        # The error that is on its way explains more than a full disk that keeps it from being noted.
        logger.warning("%s: could not be written: %s", directory.state, error)
