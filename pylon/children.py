"""How this process learns how its children end."""

import signal
import threading


def let_ends_be_seen() -> None:
    """Stop ignoring SIGCHLD, as a process does from its start if its parent did.

    The kernel then forgets a child at its end: subprocess takes it for one that has succeeded,
    multiprocessing for one that lives. Outside the main thread, where Python allows no handlers, nothing
    is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
