"""A loader worker ends with the process that loads, whichever process started it."""

import multiprocessing
import os
import threading
from multiprocessing.process import BaseProcess

from pylon.threads import started


def end_with_parent() -> None:
    """Let this worker process end within moments of the loading process's death, SIGKILL included.

    torch's workers notice when they get another parent process. One of the start method 'forkserver' is
    the fork server's child, and server and workers keep one another alive when the loading process dies.
    """
    loading = multiprocessing.parent_process()
    if loading is not None and loading.pid != os.getppid():
        started(threading.Thread(target=_wait_for, args=(loading,), name="parent-watch", daemon=True))


def _wait_for(loading: BaseProcess) -> None:
    loading.join()
    os._exit(1)
