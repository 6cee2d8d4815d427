"""Signals that a parent ignored or blocked, which its children inherit."""

import signal
import threading


def let_ends_be_seen() -> None:
    """Stop ignoring SIGCHLD.

    The kernel otherwise forgets a child at its end: subprocess takes it for one that has succeeded,
    multiprocessing for one that lives. Outside the main thread, where Python allows no handlers, nothing
    is done.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def begin_with_usual_signals() -> None:
    """The same, and let every signal reach this process: a request to stop would not come.

    For a command; a program that uses Pylon may block signals on purpose.
    """
    let_ends_be_seen()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
