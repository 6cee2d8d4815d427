"""What the command would have been given without the wrapper: environment, signals, standard streams.

The interpreter of the wrapper changes some of it when it starts, and all of that is undone here.
"""

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_PASS_ON = {"bash", "sh", "dash", "zsh", "ksh", "mksh", "busybox", "ash", "systemd", "systemd-executor"}
# What a sandbox without /proc may have open, and be closed.
_MOST_WITHOUT_PROC = 1024
# The interpreter ignores these for itself: what they were before is lost.
_OVERWRITTEN = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


@dataclass(frozen=True)
class Inheritance:
    """What a process passes on to the program that it becomes.

    Attributes:
        environment: as bytes, since a variable need not be text.
        ignored: signals that are ignored, as by `nohup` or in the background of a script.
        blocked: the signal mask.
    """

    environment: Mapping[bytes, bytes]
    ignored: frozenset[int]
    blocked: frozenset[int]

    def with_environment(self, added: Mapping[bytes, bytes]) -> "Inheritance":
        """The same with more variables."""
        return replace(self, environment={**self.environment, **added})


def inherited(proc_root: str = "/proc") -> Inheritance:
    """What this process was started with. Call it before any signal's handler or the mask is changed."""
    numbers = signal.valid_signals()
    ignored = {number for number in numbers if signal.getsignal(number) == signal.SIG_IGN} - _OVERWRITTEN
    return Inheritance(
        environment=_environment(Path(proc_root)),
        ignored=frozenset(ignored | (_ignored_by_parent(Path(proc_root)) & _OVERWRITTEN)),
        blocked=frozenset(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    )


def hold_standard_descriptors() -> None:
    """Put a placeholder in the place of a closed standard stream: no file opened later gets its number.

    A started program does not inherit it, so the stream is closed for the command, as it was.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one, since those below are open by now.
            os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)


def let_go_of_descriptors(kept: set[int]) -> None:
    """Close what the command has by inheritance, except `kept`.

    A pipe stays open as long as anyone holds it: its other end would wait for us when the command closes it.
    """
    descriptors = _open_descriptors()
    for number in descriptors - kept:
        if number > 2 and not os.get_inheritable(number):
            continue  # opened by this program
        if number <= 2:
            placeholder = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(placeholder, number, inheritable=False)
            os.close(placeholder)
        else:
            os.close(number)


def close_all_but(kept: set[int]) -> None:
    """Close every descriptor of this process, a copy of the wrapper, except `kept`."""
    for number in _open_descriptors() - kept:
        os.close(number)


def _open_descriptors() -> set[int]:
    try:
        found = {int(name) for name in os.listdir("/proc/self/fd")}  # noqa: PTH208 - names, not Paths
    except OSError:
        found = set(range(_MOST_WITHOUT_PROC))
    # The listing itself had one.
    return {number for number in found if _is_open(number)}


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _environment(proc_root: Path) -> dict[bytes, bytes]:
    """As it was at the start: the interpreter sets LC_CTYPE for itself in the locale C."""
    try:
        block = (proc_root / "self/environ").read_bytes()
    except OSError:
        return dict(os.environb)
    found: dict[bytes, bytes] = {}
    for entry in block.split(b"\0"):
        name, sign, value = entry.partition(b"=")
        if sign and name:
            # Of two with one name, getenv gives the first.
            found.setdefault(name, value)
    return found


def _ignored_by_parent(proc_root: Path) -> frozenset[int]:
    """The signals that the parent ignores, if it passes that on.

    A shell does (`trap '' PIPE`), and so does systemd. Python and Rust programs and fish ignore SIGPIPE for
    themselves and start others without that.
    """
    parent = proc_root / str(os.getppid())
    try:
        name = (parent / "comm").read_text(errors="replace").strip().lstrip("-")
        lines = (parent / "status").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    masks = [int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:")]
    if name not in _PASS_ON or not masks:
        return frozenset()
    return frozenset(number for number in range(1, 65) if masks[0] >> (number - 1) & 1)
