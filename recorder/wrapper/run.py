"""`pylon run`: start a command, wait for it, record it, and end as it has ended."""

import contextlib
from collections.abc import Sequence
from typing import NoReturn

from pylon.recorder.wrapper.command import start
from pylon.recorder.wrapper.ending import end_as
from pylon.recorder.wrapper.inheritance import hold_standard_descriptors, inherited, let_go_of_descriptors
from pylon.recorder.wrapper.kernel import adopt_orphans
from pylon.recorder.wrapper.recording import Recording
from pylon.recorder.wrapper.waiting import Ended, end_of, reap_orphans, take_signals, wait_for
from pylon.recorder.wrapper.witness import Witness


def run(words: Sequence[str], recording: Recording) -> NoReturn:
    """Run a command in the place of this process.

    Raises:
        CommandError: it cannot be executed; nothing is recorded.
    """
    hold_standard_descriptors()
    inheritance = inherited()
    take_signals()
    adopt_orphans()
    witness = Witness()
    try:
        inheritance = inheritance.with_environment(recording.environment())
        pid = start(words, inheritance, recording.error_output())
    except BaseException:
        witness.end()
        recording.cancel()
        raise
    # From here on the end of this process would be the command's: nothing may raise.
    with contextlib.suppress(OSError):
        let_go_of_descriptors({2})
    recording.begin(pid)
    ended = _end_of(pid, witness, recording)
    with contextlib.suppress(Exception):
        witness.end()
        reap_orphans(pid)
    recording.end(ended)
    end_as(ended)


def _end_of(pid: int, witness: Witness, recording: Recording) -> Ended:
    # Without memory, say: signals are not handed on any more, and the command goes on.
    with contextlib.suppress(Exception):
        return wait_for(pid, witness, recording.note_signal)
    return end_of(pid)
