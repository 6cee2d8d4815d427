"""The black box of a run: what happened, why it ended, and what held it back.

history/    `history.sqlite`: one writer, thinning, a damaged file, the reader
verdict/    step windows and samples in, the bottleneck with its evidence out
alerts/     rules with a threshold and a duration, and where their messages go
channel/    figures from the watched program to the recorder, without a lock
process/    the process that records: when it samples, when it ends
endings/    what is known of a death: state, cause, certainty
wrapper/    `pylon run`: record any command
callbacks/  record the training of another library
report/     what a reader sees of one or many records
cli/        the commands
"""

from pylon import require_namespace as _require_namespace
from pylon.recorder.process.recorder import Recorder

__all__ = ["Recorder"]

_require_namespace(__name__)
