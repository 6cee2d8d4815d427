"""A launch without a written end, as its next reader sees it."""

import json

from pylon.recorder.endings import Here, ending_by_reader
from pylon.recorder.history import LaunchRow

LAUNCH = LaunchRow(1000.0, "runner", host="one", boot_id="a", pid=7, start_ticks=70, id=3)


def here(host: str = "one", boot: str = "a", ticks: int | None = None) -> Here:
    return Here(host, boot, lambda _pid: ticks)


def test_a_launch_that_runs_has_no_end() -> None:
    assert ending_by_reader(LAUNCH, 1500.0, here(ticks=70)) is None


def test_another_process_with_its_pid_is_not_it() -> None:
    ending = ending_by_reader(LAUNCH, 1500.0, here(ticks=71))
    assert ending is not None
    assert (ending.launch, ending.at, ending.state, ending.cause) == (3, 1500.0, "unknown", "recorder_lost")
    assert ending.source == "next reader"
    assert "1970-01-01T00:25:00" in json.loads(ending.evidence or "")[0]["text"]


def test_another_boot_id_is_a_restart_of_the_machine() -> None:
    ending = ending_by_reader(LAUNCH, None, here(boot="b"))
    assert ending is not None
    assert (ending.cause, ending.certainty, ending.at) == ("reboot", "likely", 1000.0)


def test_from_another_machine_nothing_is_seen() -> None:
    ending = ending_by_reader(LAUNCH, 1500.0, here(host="two", boot="b"))
    assert ending is not None
    assert (ending.cause, ending.certainty) == ("recorder_lost", "not_observable")


def test_without_room_for_an_end_the_disk_is_the_likely_cause() -> None:
    ending = ending_by_reader(LAUNCH, 1500.0, here(), 4096)
    assert ending is not None
    assert (ending.state, ending.cause, ending.certainty) == ("unknown", "disk_full", "likely")
    assert "4096 bytes free" in json.loads(ending.evidence or "")[1]["text"]
    assert "Make room" in (ending.advice or "")
    roomy = ending_by_reader(LAUNCH, 1500.0, here(), 10**9)
    assert roomy is not None
    assert roomy.cause == "recorder_lost"
