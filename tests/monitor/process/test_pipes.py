"""A pipe in a process whose descriptors are not ours alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pylon.monitor.process.pipes import PipeEnd

REPOSITORY = Path(__file__).resolve().parents[3]
_BEGIN = "import os, resource; from pylon.monitor.process.pipes import PipeEnd; "


def printed_by(program: str) -> str:
    """What a program prints that has few descriptors open: the test's own process has any number."""
    done = subprocess.run(
        [sys.executable, "-c", _BEGIN + program], cwd=REPOSITORY, capture_output=True, text=True,
        timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


def test_the_numbers_of_closed_standard_streams_are_left_free() -> None:
    shown = printed_by(
        "kept = os.dup(1); os.closerange(0, 3); "
        "numbers = [end.number for end in PipeEnd.pair()]; "
        "os.write(kept, str(min(numbers) > 4).encode())"
    )
    assert shown == "True"


def test_without_descriptors_it_is_refused_and_none_is_left() -> None:
    # The ends get numbers from 10 on: there is room for one of the two.
    shown = printed_by(
        "resource.setrlimit(resource.RLIMIT_NOFILE, (11, 11))\n"
        "before = os.listdir('/proc/self/fd')\n"
        "try: PipeEnd.pair()\n"
        "except OSError: print(os.listdir('/proc/self/fd') == before)"
    )
    assert shown == "True\n"


def test_programs_that_are_started_do_not_inherit_it() -> None:
    ends = PipeEnd.pair()
    assert [os.get_inheritable(end.number) for end in ends] == [False, False]
    for end in ends:
        end.close()


def test_an_end_that_somebody_else_closed_is_neither_used_nor_closed_again() -> None:
    reading, writing = PipeEnd.pair()
    os.close(writing.number)
    strange = os.open(os.devnull, os.O_WRONLY)
    os.dup2(strange, writing.number)
    os.close(strange)
    try:
        assert writing.lost
        with pytest.raises(OSError, match="closed the monitor's descriptors"):
            writing.checked()
        writing.close()
        os.fstat(writing.number)
    finally:
        os.close(writing.number)
        reading.close()
