"""What this process inherits of signals, and which ones nothing uses."""

import os
import signal
import threading
from pathlib import Path


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


def is_unused(number: int) -> bool:
    """Whether nothing in this process handles a signal, so that it has its default effect."""
    return signal.getsignal(number) is signal.SIG_DFL and not is_caught(os.getpid(), number)


def is_of_other_code(number: int) -> bool:
    """Whether code that Python does not know of handles a signal, such as faulthandler's."""
    return signal.getsignal(number) is signal.SIG_DFL and is_caught(os.getpid(), number)


def is_caught(pid: int, number: int) -> bool:
    """Whether a process handles a signal, also by code that Python does not know of, such as faulthandler's.

    Source: proc_pid_status(5), SigCgt.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return False
    masks = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    try:
        caught = int(masks["SigCgt"].strip(), 16)
    except (KeyError, ValueError):
        return False
    return bool(caught >> (number - 1) & 1)
