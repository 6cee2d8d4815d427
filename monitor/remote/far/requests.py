"""What is sent to the far shell: the command that starts it, its script, and requests."""

import enum
from collections.abc import Collection
from functools import cache
from importlib.resources import files

from pylon.monitor.remote.far.smi import QUERIED
from pylon.monitor.status.cpu import MOST_PROCESSES

# The login shell may be any (csh, fish): a plain list of words, with nothing in the quotes that one of
# them would treat differently ("!", a backslash, a line break). The shell's `read` takes no more from
# its input than the line it was asked for, which `sh -s` does not promise: what follows is read later.
FAR_COMMAND = "exec /bin/sh -c 'IFS= read -r l; eval \"$l\"' pylon-monitor"

_SCRIPT_NAME = "script.sh"
_END_OF_SCRIPT = "#end-of-script"
# What the script and the readers of its answers must agree on.
_SHARED = {"@GPU_FIELDS@": ",".join(QUERIED), "@MOST_PROCESSES@": str(MOST_PROCESSES)}
_MOST_INTERVAL_MS = 3_600_000
_MOST_SEQUENCE = 2**31 - 1

HEARTBEAT = b"H\n"
"""Keeps the far shell alive without asking it for anything. A request does so too."""


class Tier(enum.Enum):
    """What a request asks for. Each answer has what is cheap; the others are requested now and then.

    fast       processors, memory, load, disks, network, the output of nvidia-smi
    slow       name, kernel, wall clock, which devices are real, limits
    processes  from the first time on, a helper there lists the busiest processes every 10 s or more rarely
    """

    FAST = "fast"
    SLOW = "slow"
    PROCESSES = "processes"


@cache
def far_script() -> bytes:
    """What to write to the started FAR_COMMAND, before the first request."""
    text = files(__package__).joinpath(_SCRIPT_NAME).read_text(encoding="ascii")
    lines = [line.lstrip() for line in text.splitlines()]
    # The far shell reads it byte by byte. What people need to read it stays here.
    code = [line for line in lines if line and not line.startswith("#")]
    whole = "\n".join([*code, _END_OF_SCRIPT, ""])
    for name, value in _SHARED.items():
        whole = whole.replace(name, value)
    return whole.encode("ascii")


def encode_request(
    sequence: int, tiers: Collection[Tier] = (Tier.FAST,), gpu_interval_ms: int = 1000
) -> bytes:
    """One request for one frame.

    Args:
        sequence: its number, larger than of all before on this connection.
        tiers: what to answer.
        gpu_interval_ms: how often nvidia-smi is to read the GPUs; 0: never. The first request of a
            connection that has a number above 0 sets it.

    Raises:
        ValueError: a number is out of range.
    """
    if not 0 <= sequence <= _MOST_SEQUENCE:
        raise ValueError(f"sequence: {sequence!r}, expected 0 to {_MOST_SEQUENCE}.")
    if not 0 <= gpu_interval_ms <= _MOST_INTERVAL_MS:
        raise ValueError(f"gpu_interval_ms: {gpu_interval_ms!r}, expected 0 to {_MOST_INTERVAL_MS}.")
    want = "+".join(tier.value for tier in Tier if tier is Tier.FAST or tier in tiers)
    return f"T {sequence} {want} {gpu_interval_ms}\n".encode("ascii")
