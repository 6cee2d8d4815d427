"""Threads that this process may have no room for, by a limit of its user or of its container."""

import threading

# What CPython's threading raises then, as text.
NO_ROOM = "can't start new thread"


def started(thread: threading.Thread) -> bool:
    """Start a thread that can be done without; False if there is no room for it, or the interpreter ends."""
    try:
        thread.start()
    except RuntimeError:
        return False
    return True
