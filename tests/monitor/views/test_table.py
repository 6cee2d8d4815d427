"""What people are shown: a table that fits, and nothing that steers their terminal."""

import dataclasses
import json

import pytest

from pylon.monitor import (
    Absence,
    GPUStatus,
    MonitorHealth,
    MonitorState,
    ServerHealth,
    Side,
)
from pylon.monitor.status.failure import Failure
from pylon.monitor.text import printable
from pylon.monitor.views.host import host_lines
from pylon.monitor.views.plain import origins_record, snapshot_record
from pylon.monitor.views.table import table_lines, trouble_lines
from pylon.monitor.views.text import gib, number, percent, seconds
from tests.monitor.statuses import cpu, gpu, gpus, process, seen, snapshot


def health(**errors: str) -> dict[str, MonitorHealth]:
    servers = {
        server: ServerHealth(consecutive_failures=1, last_error=Failure("UnreachableError", text))
        for server, text in errors.items()
    }
    return {"RemoteMonitor-0": MonitorHealth(MonitorState.OK, servers=servers)}


def test_each_server_has_its_line_and_each_gpu_where_there_is_room() -> None:
    shown = snapshot(gpu1=gpus(gpu(processes=(process(),)), gpu(1)), plain=gpus())
    lines = table_lines(shown, health(), ["gpu1", "plain", "new"])
    assert lines[0].split()[:4] == ["server", "state", "age", "CPU"]
    assert [line.split()[0] for line in lines[1:]] == ["gpu1", "GPU", "GPU", "plain", "new"]
    assert "1 of 2 busy" in lines[1]
    assert "used by alice" in lines[2]
    assert "starting" in lines[-1]
    assert len(table_lines(shown, health(), ["gpu1", "plain", "new"], (80, 5))) == 4
    assert all(len(line) <= 40 for line in table_lines(shown, health(), ["gpu1", "plain"], (40, 9)))


def test_servers_in_trouble_stay_in_view() -> None:
    shown = snapshot(**{f"s{number}": gpus() for number in range(50)})
    shown = dataclasses.replace(
        shown, cpu={**shown.cpu, "s40": seen(cpu(), age_s=99.0, trouble=Absence.UNREACHABLE)}
    )
    lines = table_lines(shown, health(s40="no route"), list(shown.cpu), (120, 10))
    assert len(lines) == 10
    assert lines[-1] == "... and 42 more"
    assert any("s40" in line and "unreachable" in line and "no route" in line for line in lines)


@pytest.mark.parametrize(
    ("status", "age_s", "trouble", "state"),
    [
        (gpus(gpu()), 9.0, Absence.HUNG, "GPU hung"),
        (None, 0.0, None, "GPU starting"),
        (gpus(gpu(), absence=Absence.LOST), 0.0, None, "GPU lost"),
        (gpus(absence=Absence.DENIED), 0.0, None, "GPU denied"),
        (gpus(absence=Absence.UNREACHABLE, released=True), 0.0, None, "ok"),
        (gpus(absence=Absence.UNSUPPORTED), 0.0, None, "ok"),
        (gpus(gpu()), 0.0, None, "ok"),
    ],
)
def test_state_of_a_server_counts_its_gpus(
    status: GPUStatus | None, age_s: float, trouble: Absence | None, state: str
) -> None:
    readings = seen(status, age_s, trouble=trouble)
    shown = dataclasses.replace(snapshot(), cpu={"one": seen(cpu())}, gpu={"one": readings})
    head, row = table_lines(shown, health(), ["one"])[:2]
    assert row[head.index("state") : head.index("age")].strip() == state
    assert trouble_lines(shown, health(), ["one"]) == ([] if state == "ok" else [f"one: {state}"])


@pytest.mark.parametrize("absence", [None, Absence.UNREACHABLE])
def test_what_the_driver_prints_of_a_gpu_that_it_does_not_show_is_shown(absence) -> None:
    dead = "Unable to determine the device handle for GPU0000:18:00.0: Unknown Error\x1b[2J"
    shown = snapshot(one=gpus(gpu(), absence=absence, error=dead))
    assert [line for line in trouble_lines(shown, health(), ["one"]) if "GPU0000:18:00.0" in line]
    assert [line for line in host_lines(shown, "one") if "GPU0000:18:00.0" in line]
    assert all(line.isprintable() for line in trouble_lines(shown, health(), ["one"]))


def test_a_machine_without_a_driver_is_no_trouble() -> None:
    shown = snapshot(one=gpus(absence=Absence.UNSUPPORTED, error="nvidia-smi: not found"))
    assert trouble_lines(shown, health(), ["one"]) == []


def test_what_is_old_is_not_shown_as_current() -> None:
    shown = dataclasses.replace(snapshot(), cpu={"one": seen(cpu(percent=77.0), age_s=30.0)})
    line = table_lines(shown, health(), ["one"])[1]
    assert "stale" in line
    assert "77" not in line


def test_control_characters_of_a_server_do_not_reach_the_terminal() -> None:
    evil = "\x1b]0;owned\x07\x9b2J\r"
    shown = snapshot(one=gpus(gpu(name=evil, processes=(process(user=evil),))))
    lines = table_lines(shown, health(one=evil), ["one"]) + trouble_lines(shown, health(one=evil), ["one"])
    assert all(line.isprintable() for line in lines), lines


@pytest.mark.parametrize(
    ("samples", "busy", "memory"),
    [
        ([gpu(used_gib=8), gpu(1, processes=(process(),))], "1 of 2 busy", "8.5 of 160.0"),
        ([gpu(processes=None), gpu(1, processes=None)], "? of 2 busy", "1.0 of 160.0"),
        ([gpu(processes=None), gpu(1, processes=(process(),))], "1+ of 2 busy", "1.0 of 160.0"),
        ([gpu(processes=(), processes_left_out=1)], "1 of 1 busy", "0.5 of 80.0"),
        ([gpu(), gpu(1, memory_used_bytes=None)], "0 of 2 busy", "? of 160.0"),
        ([gpu(memory_used_bytes=None, memory_total_bytes=None)], "0 of 1 busy", "? of ?"),
    ],
)
def test_what_is_not_known_of_a_gpu_is_not_counted_as_nothing(samples, busy, memory) -> None:
    row = table_lines(snapshot(one=gpus(*samples)), health(), ["one"])[1]
    assert f"  {busy}  " in row
    assert row.rstrip().endswith(f"  {memory}")


def test_an_error_is_shown_once_by_table_and_troubles() -> None:
    shown = snapshot(one=gpus())
    table = table_lines(shown, health(one="refused"), ["one"], notes=False)
    assert [line.count("refused") for line in table] == [0, 0]
    assert "".join(trouble_lines(shown, health(one="refused"), ["one"])).count("refused") == 1


def test_troubles_name_server_state_and_reason_and_servers_under_two_names() -> None:
    shown = dataclasses.replace(snapshot(one=gpus(), two=gpus()), same_machine={"two": "one"})
    lines = trouble_lines(shown, health(one="refused"), ["one", "two", "gone"])
    assert lines == [
        "one: ok: UnreachableError: refused",
        "gone: starting",
        "two: seems to be the same machine as one",
    ]


def test_record_is_json() -> None:
    record = snapshot_record(snapshot(one=gpus(gpu(processes=(process(),)))), health(one="x"))
    again = json.loads(json.dumps({**record, "origins": origins_record()}))
    assert again["gpu"]["one"]["status"]["gpus"][0]["processes"][0]["owner_name"] == "alice"
    assert again["health"]["RemoteMonitor-0"]["servers"]["one"]["last_error"]["kind"] == "UnreachableError"
    assert again["origins"]["CPUSample"]["cpu_percent"]["source"] == "/proc/stat"


def test_origins_are_those_of_every_class_that_a_record_has() -> None:
    kinds = {
        *("CPUSample", "CgroupSample", "ProcessTreeSample", "TopProcess"),
        *("GPUStatus", "GPUSample", "GPUProcess", "MIGInstance", "XidEvent"),
    }
    for side in Side:
        assert origins_record(side).keys() == kinds
    assert origins_record()["MIGInstance"]["memory_used_bytes"]["source"] == "nvmlDeviceGetMemoryInfo"
    assert origins_record(Side.REMOTE)["MIGInstance"]["uuid"]["source"] == "nvidia-smi -L"


def test_a_record_names_the_side_that_each_sample_was_taken_on() -> None:
    far = gpu(processes=(process(),), side=Side.REMOTE)
    record = snapshot_record(snapshot(one=gpus(far), two=gpus(gpu())), health())
    assert [record["gpu"][name]["status"]["gpus"][0]["side"] for name in ("one", "two")] == [
        "remote",
        "local",
    ]


def test_memory_temperature_is_in_the_full_view_of_a_server_only() -> None:
    shown = snapshot(one=gpus(gpu(temperature_c=45.0, memory_temperature_c=61.0), gpu(1, temperature_c=46.0)))
    first, second = host_lines(shown, "one")[-2:]
    assert "45 °C (memory 61 °C)" in first
    assert second.endswith("46 °C")
    assert not any("61 °C" in line for line in table_lines(shown, health(), ["one"]))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(None), "?"),
        (percent(12.4), "12 %"),
        (gib(None), "?"),
        (gib(3 * 2**29), "1.5"),
        (number(None), "?"),
        (number(300.2, unit=" W"), "300 W"),
        (seconds(None), "-"),
        (seconds(3.14), "3.1 s"),
        (seconds(59.0), "59 s"),
        (seconds(600.0), "10 min"),
        (printable("a\nb"), "a?b"),
    ],
)
def test_values_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected
