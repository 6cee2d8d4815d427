"""A record without an end: the run goes on, its recorder died too, the machine did, or it is elsewhere."""

import json
import os
import socket
from pathlib import Path

from pylon.recorder.history import EndingRow, LaunchRow
from pylon.recorder.report.lost import ending_of_lost

NOW = 1_790_000_000.0


def own(**changes: object) -> LaunchRow:
    """A launch of this process."""
    ticks = int(Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    values: dict[str, object] = {"began_at": NOW - 900, "kind": "loop", "host": socket.gethostname(), "id": 3}
    values |= {"boot_id": boot_id, "pid": os.getpid(), "start_ticks": ticks}
    return LaunchRow(**{**values, **changes})


def facts(ending: EndingRow) -> str:
    return " / ".join(one["text"] for one in json.loads(ending.evidence or "[]"))


def test_process_that_is_alive_goes_on() -> None:
    assert ending_of_lost(own(), NOW - 600, now=NOW) is None


def test_other_process_with_the_same_number_is_another() -> None:
    ending = ending_of_lost(own(start_ticks=1), NOW - 300, now=NOW)
    assert ending is not None
    assert (ending.launch, ending.at, ending.cause) == (3, NOW - 300, "recorder_lost")
    assert (ending.certainty, ending.source) == ("likely", "next reader")
    assert "5 min 00 s ago" in facts(ending)
    assert "the machine was not started again" in facts(ending)


def test_machine_that_was_started_again() -> None:
    ending = ending_of_lost(own(boot_id="another"), None, now=NOW)
    assert ending is not None
    assert (ending.cause, ending.at) == ("reboot", NOW - 900)
    assert "boot id has changed" in facts(ending)


def test_zombie_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = ["Z", *["0"] * 18, "11", "0"]
    (tmp_path / "7/stat").write_text(f"7 (a) b) {' '.join(fields)}\n", encoding="utf-8")
    launch = own(pid=7, start_ticks=11, boot_id=None)
    ending = ending_of_lost(launch, NOW, proc=tmp_path, now=NOW)
    assert ending is not None
    assert ending.cause == "recorder_lost"
    (tmp_path / "7/stat").write_text(f"7 (a) b) {' '.join(['S', *fields[1:]])}\n", encoding="utf-8")
    assert ending_of_lost(launch, NOW, proc=tmp_path, now=NOW) is None


def test_other_machine_is_not_judged() -> None:
    launch = own(host="elsewhere")
    assert ending_of_lost(launch, NOW - 5, now=NOW) is None, "it wrote a moment ago"
    ending = ending_of_lost(launch, NOW - 500, now=NOW)
    assert ending is not None
    assert (ending.cause, ending.certainty) == ("not_observable", "not_observable")
    assert "not observable from here" in facts(ending)
