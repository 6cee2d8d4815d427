"""End as the command has ended, so that a shell sees no difference."""

import os
import resource
import signal
from typing import NoReturn

from pylon.recorder.wrapper.kernel import dump_no_core
from pylon.recorder.wrapper.waiting import Ended


def end_as(ended: Ended) -> NoReturn:
    """Exit with the command's code, or die by its signal: a script goes on after exit code 130, but ends when
    its command has died of Ctrl-C.
    """
    if ended.signal is not None:
        # One core file is enough, and it is the command's.
        dump_no_core()
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if ended.signal in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(ended.signal, signal.SIG_DFL)
        os.kill(os.getpid(), ended.signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {ended.signal})
    # The first process of a container takes no signal of its own.
    os._exit(ended.shell_code)
