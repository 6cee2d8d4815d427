"""The black box of a run: what happened, why it ended, and what held it back.

history/    `history.sqlite`: one writer, thinning, a damaged file, the reader
verdict/    step windows and samples in, the bottleneck with its evidence out
alerts/     rules with a threshold and a duration, and where their messages go
channel/    figures from the watched program to the recorder, without a lock
node/       the processes that train together on one machine: which of them records
process/    the process that records: when it samples, when it ends
endings/    what is known of a death: state, cause, certainty
wrapper/    `pylon run`: record any command
callbacks/  record the training of another library
report/     what a reader sees of one or many records
cli/        the commands
"""

from typing import TYPE_CHECKING, Any

from pylon import require_namespace as _require_namespace

if TYPE_CHECKING:
    from pylon.recorder.callbacks.watch import watch
    from pylon.recorder.process.recorder import Recorder

__all__ = ["Recorder", "watch"]

_require_namespace(__name__)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - what it is depends on the name
    """Load what is asked for: a command under `pylon run` waits for none of it."""
    if name == "Recorder":
        from pylon.recorder.process import recorder  # noqa: PLC0415

        return recorder.Recorder
    if name == "watch":
        from pylon.recorder.callbacks import watch  # noqa: PLC0415

        return watch.watch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
