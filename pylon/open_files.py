"""How many files this process may have open."""

import contextlib
import resource

# What looks through all numbers that may be open, as some programs do in their start, is still done at once.
_MOST = 65_536


def allow_more_open_files() -> None:
    """Raise the limit from what is usual, 1,024, to what the user may have.

    The limit is low for programs that call select(), which takes no larger numbers. Each tensor that waits in
    a loader's queue holds a file descriptor.

    Source: getrlimit(2), RLIMIT_NOFILE; select(2), FD_SETSIZE.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if resource.RLIM_INFINITY != soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
