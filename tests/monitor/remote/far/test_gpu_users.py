"""The list of programs on GPUs: what cannot be read costs its own GPU."""

import pytest

from pylon.monitor.remote.far import RemoteStatuses
from pylon.monitor.status import Absence
from tests.monitor.remote.far.test_statuses import gpu_frame

FIRST = "GPU-aaaabbbb-1111-2222-3333-444455556666"
SECOND = "GPU-ccccdddd-1111-2222-3333-444455556666"
FIELDS = "fields index,uuid,pci.bus_id"


def samples(*rows: str, status: object = 0, names: tuple[str, str] = (FIRST, SECOND)):
    """Both GPUs, after a list with these rows."""
    lines = [f"gpu 99.9 {index}, {name}, 00000000:4{index}:00.0" for index, name in enumerate(names)]
    apps = (f"at 99.0 {status}", *(f"-\t-\t\t{row}" for row in rows))
    return RemoteStatuses(3).build(gpu_frame(100.0, FIELDS, *lines, apps=apps), 0.0).gpu.gpus


def test_a_row_that_is_denied_costs_its_gpu() -> None:
    denied = "[Insufficient Permissions]"
    first, second = samples(f"{FIRST}, {denied}, {denied}, {denied}", f"{SECOND}, 7, 30, python")
    assert first.absent["processes"] is Absence.DENIED
    assert [one.pid for one in second.processes] == [7]


def test_a_row_that_is_denied_leaves_the_others_of_its_gpu() -> None:
    first, second = samples(f"{FIRST}, 7, 30, python", f"{FIRST}, [Insufficient Permissions], 1, x")
    assert [one.pid for one in first.processes] == [7]
    assert first.processes_left_out == 1
    assert first.absent["others_memory_used_bytes"] is Absence.DENIED
    assert second.processes == ()


@pytest.mark.parametrize(
    ("message", "first_is_known"),
    [
        ("Unable to determine the device handle for GPU0000:18:00.0: Unknown Error", True),
        ("Unable to determine the device handle for GPU0000:40:00.0: Unknown Error", False),
        ("Unable to determine the device handle for GPU0: 0000:40:00.0: Unknown Error", False),
        ("Unable to determine the device handle for GPU 0: Unknown Error", False),
        ("ERROR: ld.so: object 'libsite.so' from LD_PRELOAD cannot be preloaded: ignored.", True),
        ("No running processes found", True),
    ],
)
def test_a_message_costs_the_gpu_that_it_names(message, first_is_known) -> None:
    first, second = samples(message)
    assert (first.processes == ()) is first_is_known
    assert second.processes == ()


@pytest.mark.parametrize("row", [f"{FIRST}, 7, [Not Supported], python", f"{FIRST}, 7, 30, not supported"])
def test_an_excuse_within_a_row_is_none_for_the_list(row) -> None:
    first, _ = samples(row)
    assert [one.pid for one in first.processes] == [7]


@pytest.mark.parametrize(
    ("message", "status", "absence"),
    [
        ("[Not Supported]", 0, Absence.UNSUPPORTED),
        ('Field "gpu_uuid" is not a valid field to query.', 2, Absence.UNSUPPORTED),
        ("Failed to initialize NVML: Insufficient Permissions", 4, Absence.DENIED),
        ("Failed to initialize NVML: Unknown Error", 255, Absence.UNREACHABLE),
        ("No running processes found", "cut", Absence.UNREACHABLE),
    ],
)
def test_a_list_that_failed_is_not_one_of_no_processes(message, status, absence) -> None:
    assert [one.absent["processes"] for one in samples(message, status=status)] == [absence, absence]


def test_a_program_on_a_gpu_without_a_name_may_be_on_any() -> None:
    first, second = samples("[N/A], 7, 30, python", names=("[N/A]", SECOND))
    assert first.uuid == "index:0"
    assert first.absent["processes"] is Absence.UNREACHABLE
    assert second.absent["processes"] is Absence.UNREACHABLE


@pytest.mark.parametrize(
    ("all_commands", "own", "commands"),
    [
        (False, ("uid 1000",), ["python a.py", None, None]),
        (False, (), [None, None, None]),
        (True, ("uid 1000",), ["python a.py", "python b.py", "python c.py"]),
    ],
)
def test_command_of_another_user_is_left_out_unless_asked_for(all_commands, own, commands) -> None:
    rows = (
        f"1000\talice\tpython\t{FIRST}, 7, 30, python a.py",
        f"1001\tbob\tpython\t{FIRST}, 8, 30, python b.py",
        f"-\t-\t\t{FIRST}, 9, 30, python c.py",
    )
    seen = gpu_frame(
        100.0, FIELDS, f"gpu 99.9 0, {FIRST}, 00000000:40:00.0", system=own, apps=("at 99.0 0", *rows)
    )
    (gpu,) = RemoteStatuses(3, all_commands=all_commands).build(seen, 0.0).gpu.gpus
    by_pid = {one.pid: one for one in gpu.processes}
    assert [by_pid[pid].command for pid in (7, 8, 9)] == commands
    assert [by_pid[pid].name for pid in (7, 8, 9)] == ["python"] * 3
