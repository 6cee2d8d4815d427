"""Who used GPUs and memory: rows of a record."""

import time
from pathlib import Path
from typing import Any

from pylon.monitor import CPUSample, CPUStatus, GPUProcess, GPUSample, GPUStatus, TopProcess, WindowStats
from pylon.recorder.history import EndingRow, HistoryWriter, LaunchRow, ProcessRow, open_history
from pylon.recorder.process.inventory import Inventory
from pylon.recorder.report.story import read_story
from pylon.recorder.report.text import report_lines
from tests.monitor.statuses import GIB, seen

T = 1_790_000_000.0


def host(*top: TopProcess) -> CPUStatus:
    sample = CPUSample(time.monotonic(), T, memory_total_bytes=64 * GIB, top_processes=top)
    return CPUStatus(sample, WindowStats(), WindowStats())


def card(*users: GPUProcess) -> GPUStatus:
    return GPUStatus(time.monotonic(), T, (GPUSample("GPU-a", 0, processes=users),))


def observed(cpu: CPUStatus, gpu: GPUStatus) -> dict[str, dict[str, Any]]:
    return {"CPUMonitor": {"localhost": seen(cpu)}, "GPUMonitor": {"localhost": seen(gpu), "far": seen(gpu)}}


def user(pid: int, gib: float, *, of_run: bool = False) -> GPUProcess:
    command = None if pid == 9 else "python x.py"
    return GPUProcess(pid, round(gib * GIB), True, False, command=command, owner_name="bob", of_run=of_run)


def top(pid: int, gib: float, *, of_run: bool = False) -> TopProcess:
    return TopProcess(pid, "proc", "alice", 1.0, round(gib * GIB), of_run)


def written(path: Path, *looks: tuple[CPUStatus, GPUStatus], every_s: float = 10.0) -> list[ProcessRow]:
    with HistoryWriter(path) as writer:
        launch = writer.begin(LaunchRow(began_at=T, kind="loop", host="elsewhere"))
        inventory = Inventory(launch, writer)
        for number, (cpu, gpu) in enumerate(looks):
            inventory.look(observed(cpu, gpu), T + number * every_s)
        writer.end(EndingRow(launch, T + len(looks) * every_s, "killed", "host_oom", "confirmed", "recorder"))
    with open_history(path) as history:
        return history.processes(launch)


def test_each_process_has_its_time_its_most_memory_and_its_role(tmp_path: Path) -> None:
    rows = written(
        tmp_path / "history.sqlite",
        (host(top(1, 30, of_run=True), top(2, 20), top(3, 0.1)), card(user(1, 5, of_run=True), user(9, 2))),
        (host(top(1, 10, of_run=True), top(3, 0.1)), card(user(1, 7, of_run=True))),
    )
    assert {(one.pid, one.device, one.role, one.memory_bytes, one.until) for one in rows} == {
        (1, "", "run", 30 * GIB, None),
        (2, "", "host", 20 * GIB, T + 10),
        (1, "GPU-a", "run", 7 * GIB, None),
        (9, "GPU-a", "gpu", 2 * GIB, T + 10),
    }
    assert {one.since for one in rows} == {T}


def test_monitor_that_shows_nothing_ends_no_process(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    with HistoryWriter(path) as writer:
        inventory = Inventory(writer.begin(LaunchRow(began_at=T, kind="loop")), writer)
        inventory.look(observed(host(top(1, 30)), card(user(9, 2))), T)
        inventory.look({"CPUMonitor": {"localhost": seen(host(top(1, 30)))}}, T + 10)
        inventory.look({}, T + 20)
    with open_history(path) as history:
        assert {one.until for one in history.processes()} == {None}


def test_rows_are_bounded(tmp_path: Path) -> None:
    looks = [(host(*(top(100 * number + one, 2) for one in range(50))), card()) for number in range(25)]
    assert len(written(tmp_path / "history.sqlite", *looks)) == 1000


def test_report_of_an_end_for_memory_names_who_held_it(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    written(path, (host(top(1, 30, of_run=True), top(2, 20)), card(user(9, 2))))
    with open_history(path) as history:
        lines = report_lines(read_story(history, path))
    at = lines.index("Processes that held memory at the end")
    assert [line.strip() for line in lines[at + 1 : at + 4]] == [
        "30 GiB resident: proc (pid 1, user alice, of this run)",
        "20 GiB resident: proc (pid 2, user alice)",
        "2 GiB of GPU GPU-a: ? (pid 9, user bob, another user of the GPU)",
    ]
