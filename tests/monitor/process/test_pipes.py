"""A pipe in a process whose descriptors are not ours alone."""

import errno
import os
import resource
from pathlib import Path

import pytest

from pylon.monitor.process.pipes import PipeEnd


def descriptors() -> set[int]:
    return {int(one.name) for one in Path("/proc/self/fd").iterdir()}


def test_standard_streams_numbers_are_left_free() -> None:
    ends = PipeEnd.pair()
    assert min(end.number for end in ends) > 2
    for end in ends:
        end.close()


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


def test_without_descriptors_it_is_refused_and_none_is_left() -> None:
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The ends get numbers from 10 on: there is room for one of the two at most.
    resource.setrlimit(resource.RLIMIT_NOFILE, (11, hard))
    try:
        with pytest.raises(OSError) as refused:
            PipeEnd.pair()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert refused.value.errno in {errno.EMFILE, errno.EINVAL}
    assert descriptors() == before
