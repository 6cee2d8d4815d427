"""To which recorder a callback reports: the one of its process tree, a sibling rank's, or its own."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from pylon.recorder.channel import VARIABLE, Channel, Sender
from pylon.recorder.endings import words_of
from pylon.recorder.node import announce, join_sibling, ranks_of
from pylon.recorder.process.recorder import Recorder
from pylon.storage import refuse_planted

# A sibling that is started at the same time has to import its libraries first.
_SIBLING_WITHIN_S = 5.0
# A training that ends at once is recorded too: only then is the recorder still starting.
_RECORDER_WITHIN_S = 5.0
HISTORY = "history.sqlite"


@dataclass
class Opened:
    """Where to report.

    Attributes:
        sender: takes steps and marks.
        channel: of another process's recorder; None if `recorder` has it.
        recorder: this process's own, or joined by it.
    """

    sender: Sender
    channel: Channel | None = None
    recorder: Recorder | None = None
    _unhook: Callable[[], None] = field(default=lambda: None)

    def note_uncaught(self) -> None:
        """Note the exception that ends this program, until `close`: its error output may be a terminal."""
        former, pid, noting = sys.excepthook, os.getpid(), True

        def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            try:
                if noting and os.getpid() == pid:
                    self._note(words_of(error))
            finally:
                former(kind, error, trace)

        def unhook() -> None:
            nonlocal noting
            # A later hook may call this one: then it stays, and does nothing.
            noting = False
            if sys.excepthook is hook:
                sys.excepthook = former

        sys.excepthook, self._unhook = hook, unhook

    def close(self, failure: Mapping[str, Any]) -> None:
        """Report the end, and end what this process has started.

        Args:
            failure: in words, see `words_of`; empty if there is none.
        """
        if self.recorder is not None and not self.recorder.joined:
            self.recorder.await_begin(_RECORDER_WITHIN_S)
            if failure:
                self.recorder.end(**failure)
        elif failure:
            self._note(failure)
        self._unhook()
        if self.recorder is not None:
            self.recorder.stop()
        if self.channel is not None:
            self.sender.mark("left", pid=os.getpid())
            self.channel.close()

    def _note(self, failure: Mapping[str, Any]) -> None:
        # Who joins does not decide how the whole ends: the program may go on after this.
        of_the_whole = {"state", "exit_code", "signal", "traceback"}
        words = {name: one for name, one in failure.items() if name not in of_the_whole}
        self.sender.last_word(**words, last_lines=failure.get("traceback"))


def joined(kind: str) -> Opened | None:
    """The recorder above this process, or in it; None if there is none."""
    return _joined(Channel.of_process_tree(os.environ, ranks_of(os.environ).rank), kind)


def opened(folder: Path, kind: str, name: str | None) -> Opened:
    """The recorder of this process tree, else that of the launcher's first process here, else a new one.

    Raises:
        PlantedError: another user may have put the folder there.
        OSError: there is no such recorder, or no new one can be started.
    """
    ranks = ranks_of(os.environ)
    if ranks.local and VARIABLE not in os.environ:
        found = _joined(join_sibling(folder, ranks.rank, _SIBLING_WITHIN_S), kind)
        if found is None:
            raise TimeoutError(f"{folder}: no recorder of local rank 0 within {_SIBLING_WITHIN_S:g} s")
        return found
    refuse_planted(folder)
    recorder = Recorder(
        folder / HISTORY, kind=kind, name=name or folder.name, rank=ranks.rank, ranks=ranks.ranks
    ).start()
    if not recorder.joined and recorder.address is not None:
        announce(folder, recorder.address)
    return Opened(recorder.sender, recorder=recorder)


def _joined(channel: Channel | None, kind: str) -> Opened | None:
    if channel is None:
        return None
    channel.sender.mark("joined", kind=kind, pid=os.getpid(), rank=ranks_of(os.environ).rank)
    found = Opened(channel.sender, channel=channel)
    found.note_uncaught()
    return found
