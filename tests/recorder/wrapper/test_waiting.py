"""Children that stop and end at the wrong moment."""

import os
import signal

from pylon.recorder.wrapper.waiting import stopped_by


def child() -> int:
    pid = os.fork()
    if pid == 0:
        signal.pause()
    return pid


def test_a_stop_is_reported_once_and_a_child_that_has_just_ended_is_not_stopped() -> None:
    pid = child()
    assert stopped_by(pid) is None
    os.kill(pid, signal.SIGSTOP)
    os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOWAIT)
    assert stopped_by(pid) == signal.SIGSTOP
    assert stopped_by(pid) is None
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    # Between its end and its wait the kernel answers with an error.
    assert stopped_by(pid) is None
    os.waitpid(pid, 0)
