"""The processes that load: which signals they take, and that none of them outlives the run."""

import atexit
import contextlib
import ctypes
import os
import signal
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from pylon.data.hand_over import report_failures_to
from pylon.data.worker_life import end_with_parent
from pylon.signals import is_of_other_code

# <sys/prctl.h>
_PR_SET_PDEATHSIG = 1
_OF_THE_RUN = frozenset(
    {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU}
)


def initialise_worker(sender: Connection, _worker_id: int) -> None:
    """Give a loader worker the signal handling of a worker, and let it die with its run.

    A signal to the whole process group, from Ctrl-C, torchrun's agent or a batch system, is for the run to
    decide on: it needs its workers until the running step has ended and is saved. So no signal ends
    them but SIGKILL; they end when their loader asks them to, or is gone.

    The kernel ends them with the thread that began the iteration. torch's own look for that comes every 5 s,
    and between two datapoints only: as long, a worker keeps what it has inherited open, also the connections
    by whose end the other ranks of a run notice that this one was killed.
    """
    report_failures_to(sender)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    end_with_parent()
    for number in _OF_THE_RUN:
        # SIGUSR2 shows the stacks of a process, if the user has asked faulthandler for that.
        if not is_of_other_code(number):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _OF_THE_RUN)


@contextlib.contextmanager
def signals_held_back() -> Iterator[None]:
    """Start workers inside the block: until they have their own handling, a signal waits for them.

    torch gives a new worker a handler of its own for SIGTERM, which ends it.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _OF_THE_RUN)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


class WorkerProcesses:
    """The workers of one loader, of which those that hang are killed at the end.

    At the interpreter's exit, Python sends SIGTERM to what is left and waits for it without a limit:
    so it must not find a worker that ignores that.
    """

    def __init__(self) -> None:
        self._processes: list[BaseProcess] = []
        self._parent_pid = 0

    def take_in(self, processes: Iterable[BaseProcess]) -> None:
        """Answer for these too."""
        former = self._own()
        self._parent_pid = os.getpid()
        self._processes = [one for one in {*former, *processes} if one.is_alive()]
        if self._processes and not former:
            atexit.register(self.kill)

    def kill(self) -> None:
        """Kill those that are still there."""
        atexit.unregister(self.kill)
        processes, self._processes = self._own(), []
        for process in processes:
            process.kill()
        for process in processes:
            process.join()

    def _own(self) -> list[BaseProcess]:
        """The workers of this process; a forked copy of it has none."""
        return self._processes if self._parent_pid == os.getpid() else []
