"""Numbers in memory that processes share without a lock."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pylon.monitor.process.heartbeat import Heartbeat, Notices

REPOSITORY = Path(__file__).resolve().parents[3]
TIMES = (
    "alive_s",
    "busy_since_s",
    "success_s",
    "waiting_since_s",
    "connected_s",
    "answered_s",
    "asked_to_end",
)


def test_new_heartbeat_reports_nothing_yet() -> None:
    beat = Heartbeat()
    assert [getattr(beat, name) for name in TIMES] == [0.0] * len(TIMES)
    assert beat.slowdown == 1.0
    assert beat.last_word is None


def test_each_number_has_its_own_place() -> None:
    beat = Heartbeat()
    names = (*TIMES, "slowdown")
    for value, name in enumerate(names, start=1):
        setattr(beat, name, float(value))
    assert [getattr(beat, name) for name in names] == [float(value) for value in range(1, len(names) + 1)]
    assert beat.last_word is None, "the length of the text is none of them"


def test_heartbeats_are_apart() -> None:
    one, other = Heartbeat(), Heartbeat()
    one.alive_s = 5.0
    one.last_word = ("kind", "text")
    assert (other.alive_s, other.last_word) == (0.0, None)


def test_notices_and_heartbeat_do_not_mix_their_places() -> None:
    notices = Notices()
    notices.published_s, notices.released, notices.left = 1.0, 2.0, 3.0
    assert (notices.published_s, notices.released, notices.left) == (1.0, 2.0, 3.0)
    assert Notices.numbers == 3
    assert Heartbeat.numbers > Notices.numbers


@pytest.mark.parametrize("said", [("hung", "a reading"), ("", ""), ("Ünïcode", "“quoted” ✓"), ("a", "b\0c")])
def test_last_word_is_kept(said: tuple[str, str]) -> None:
    beat = Heartbeat()
    beat.last_word = said
    assert beat.last_word == said


def test_last_word_replaces_a_longer_one() -> None:
    beat = Heartbeat()
    beat.last_word = ("kind", "long" * 100)
    beat.last_word = ("kind", "short")
    assert beat.last_word == ("kind", "short")


@pytest.mark.parametrize("letter", ["x", "ü", "✓"])
def test_last_word_of_any_length_is_cut_to_what_fits(letter: str) -> None:
    beat = Heartbeat()
    beat.alive_s = 7.0
    beat.last_word = ("MemoryError", letter * 100_000)
    word = beat.last_word
    assert word is not None
    assert word[0] == "MemoryError"
    assert word[1].rstrip("\N{REPLACEMENT CHARACTER}").strip(letter) == ""
    assert len(word[1].encode()) > 1000
    assert beat.alive_s == 7.0


def test_text_that_is_no_text_is_reported_as_well_as_can_be() -> None:
    beat = Heartbeat()
    beat.last_word = ("OSError", "name \udcff")
    assert beat.last_word == ("OSError", "name ?")


def test_child_that_was_forked_later_shares_it_both_ways() -> None:
    assert in_child(_share) == "shared"


def _share() -> None:
    beat = Heartbeat()
    beat.asked_to_end = 3.0
    if (pid := os.fork()) == 0:
        beat.alive_s = beat.asked_to_end + 1
        beat.last_word = ("kind", "from the child")
        os._exit(0)
    os.waitpid(pid, 0)
    assert (beat.alive_s, beat.last_word) == (4.0, ("kind", "from the child"))
    sys.stdout.write("shared")


def test_child_that_is_killed_while_it_writes_leaves_it_readable() -> None:
    assert in_child(_kill_the_writer) == "readable"


def _kill_the_writer() -> None:
    import signal

    beat = Heartbeat()
    for _ in range(20):
        if (pid := os.fork()) == 0:
            number = 0.0
            while True:
                number += 1
                beat.success_s = number
                beat.alive_s = number
        while not beat.alive_s:
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        # The former value or the next one, never half of each.
        assert beat.success_s - beat.alive_s in {0.0, 1.0}
        beat.alive_s = beat.success_s = 0.0
    sys.stdout.write("readable")


def in_child(function: Callable[[], None]) -> str:
    """Run it in a process without threads, as the host is: only such a one may fork."""
    code = f"from tests.monitor.process.test_heartbeat import {function.__name__} as run; run()"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
