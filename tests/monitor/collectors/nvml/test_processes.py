"""Who uses a GPU, whose they are, and which of them are the run's."""

import os
import pwd
import subprocess
import sys
import threading
import time

from pylon.monitor.collectors.processes import ids
from pylon.monitor.collectors.processes.ids import PatientLookup, ProcessTable, RunProcesses
from pylon.monitor.status import Absence
from pylon.monitor.status.gpu import MOST_PROCESSES
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

NO_PERMISSION, UNKNOWN = 4, 999
PROCESS_FIELDS = ("processes", "run_memory_used_bytes", "others_memory_used_bytes")


def read(stand_in, **settings):
    with Reader(stand_in.environment, **settings) as reader:
        return reader.collect().gpus


def test_run_and_its_descendants_are_distinguished_from_others(tmp_path):
    stand_in = StandIn(tmp_path)
    # Not process 1: in a container that may be the test itself.
    stranger = 2_000_001
    child = subprocess.Popen([sys.executable, "-c", "input()", "a word"], stdin=subprocess.PIPE)
    try:
        stand_in.behave(
            f"process {os.getpid()} 1000", f"process {stranger} 50000", f"process {child.pid} 200"
        )
        (gpu,) = read(stand_in)
    finally:
        child.communicate(b"\n", timeout=10)
    run, its_child, other = gpu.processes
    assert (run.pid, its_child.pid, other.pid) == (os.getpid(), child.pid, stranger)
    assert (run.of_run, its_child.of_run, other.of_run) == (True, True, False)
    assert gpu.run_memory_used_bytes == 1200
    assert gpu.others_memory_used_bytes == 50000
    assert its_child.name == "python" or its_child.name.startswith("python")
    assert its_child.command.endswith("-c input() a word")
    assert (its_child.owner_uid, its_child.owner_name) == (os.getuid(), pwd.getpwuid(os.getuid()).pw_name)


def test_process_that_computes_and_draws_is_one(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 1 100", "graphics 1 100", "graphics 2 7")
    (gpu,) = read(stand_in, run_pids={2})
    drawing, both = gpu.processes
    assert (drawing.pid, drawing.compute, drawing.graphics, drawing.of_run) == (2, False, True, True)
    assert (both.pid, both.compute, both.graphics, both.memory_used_bytes) == (1, True, True, 100)
    assert (gpu.run_memory_used_bytes, gpu.others_memory_used_bytes) == (7, 100)


def test_memory_that_the_driver_does_not_report_is_unknown_and_no_sum_hides_it(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 1 -1", "process 2 7")
    (gpu,) = read(stand_in, run_pids={2})
    assert [one.memory_used_bytes for one in gpu.processes] == [7, None]
    assert gpu.run_memory_used_bytes == 7
    assert gpu.others_memory_used_bytes is None
    assert gpu.absent == {"others_memory_used_bytes": Absence.UNSUPPORTED}


def test_graphics_lists_may_be_unsupported_where_compute_lists_are_not(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 1 100", "unsupported nvmlDeviceGetGraphicsRunningProcesses_v3", stand_in.logging)
    (gpu,) = read(stand_in)
    assert stand_in.calls()["nvmlDeviceGetGraphicsRunningProcesses_v3"] > 0
    assert [one.pid for one in gpu.processes] == [1]


def test_half_a_list_is_no_list(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 1 100", f"error nvmlDeviceGetGraphicsRunningProcesses_v3 {UNKNOWN}")
    (gpu,) = read(stand_in)
    assert gpu.absent == dict.fromkeys(PROCESS_FIELDS, Absence.UNREACHABLE)


def test_long_lists_are_cut_but_summed_in_full(tmp_path):
    stand_in = StandIn(tmp_path)
    pids = range(2_000_001, 2_000_001 + MOST_PROCESSES + 30)
    stand_in.behave(*(f"process {pid} 10" for pid in pids))
    (gpu,) = read(stand_in, run_pids={pids[-1]})
    assert len(gpu.processes) == MOST_PROCESSES
    assert gpu.processes[0].pid == pids[-1], "the run's come first"
    assert gpu.processes_left_out == 30
    assert gpu.run_memory_used_bytes == 10
    assert gpu.others_memory_used_bytes == 10 * (len(pids) - 1)
    assert gpu.processes[1].name is None, "there is no such process here"


def test_users_of_a_divided_gpu_are_asked_part_by_part_where_the_whole_is_not_reported(tmp_path):
    stand_in = StandIn(tmp_path)
    processes = ("process 1 100 0 0", "process 2 30 0 1")
    stand_in.behave("mig 0 2", "private 0", *processes)
    (gpu,) = read(stand_in, run_pids={2})
    assert [(one.pid, one.gpu_instance_id) for one in gpu.processes] == [(2, 2), (1, 1)]
    assert (gpu.run_memory_used_bytes, gpu.others_memory_used_bytes) == (30, 100)
    stand_in.behave("private 0", *processes)
    (gpu,) = read(stand_in, run_pids={2})
    assert gpu.absent == dict.fromkeys(PROCESS_FIELDS, Absence.DENIED)


def test_without_instances_there_is_no_instance_number(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 1 100")
    (gpu,) = read(stand_in)
    assert gpu.processes[0].gpu_instance_id is None


def recorded_process(root, pid, *, opened=()):
    folder = root / str(pid)
    (folder / "fd").mkdir(parents=True)
    (folder / "comm").write_text(f"process-{pid}\n")
    (folder / "cmdline").write_bytes(b"python\0main.py\0")
    (folder / "stat").write_text(f"{pid} (a) b) S " + " ".join(str(number) for number in range(30)))
    for number, path in enumerate(opened):
        (folder / "fd" / str(number)).symlink_to(path)


def container(tmp_path, namespace="pid:[4026532000]"):
    proc, dev = tmp_path / "proc", tmp_path / "dev"
    (proc / "self/ns").mkdir(parents=True)
    (proc / "self/ns/pid").symlink_to(namespace)
    dev.mkdir()
    for name in ("nvidia0", "nvidiactl"):
        (dev / name).touch()
    recorded_process(proc, 7, opened=[dev / "nvidia0"])
    recorded_process(proc, 8, opened=[dev / "nvidiactl", "socket:[1]"])
    return {"proc_root": proc, "dev_root": dev}


def test_host_pids_in_a_container_are_not_taken_for_its_own(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 7 100", "process 8 30", "process 99999 5")
    (gpu,) = read(stand_in, run_pids={7, 8}, table=container(tmp_path))
    by_pid = {one.pid: one for one in gpu.processes}
    assert (by_pid[7].name, by_pid[7].command, by_pid[7].of_run) == ("process-7", "python main.py", True)
    for pid in (8, 99999):
        assert (by_pid[pid].name, by_pid[pid].owner_uid, by_pid[pid].of_run) == (None, None, None)
    assert (gpu.run_memory_used_bytes, gpu.others_memory_used_bytes) == (None, None), (
        "the 30 may be the run's"
    )


def test_in_a_container_pids_out_of_sight_are_in_doubt_and_so_are_the_sums(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 2000001 10")
    (gpu,) = read(stand_in, run_pids={2_000_001}, table={"shares_machines_pids": False})
    assert [one.of_run for one in gpu.processes] == [None]
    assert (gpu.run_memory_used_bytes, gpu.others_memory_used_bytes) == (None, None)


def test_on_the_machine_itself_pids_are_what_they_say(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("process 8 30", "process 99999 5")
    (gpu,) = read(stand_in, run_pids={8}, table=container(tmp_path, namespace="pid:[4026531836]"))
    assert [(one.pid, one.name, one.of_run) for one in gpu.processes] == [
        (8, "process-8", True),
        (99999, None, False),
    ]
    assert (gpu.run_memory_used_bytes, gpu.others_memory_used_bytes) == (30, 5)


def test_container_without_device_files_has_nothing_to_compare_with(tmp_path):
    roots = container(tmp_path)
    assert ProcessTable(**roots).find(8) is None
    assert ProcessTable(roots["proc_root"], tmp_path / "nowhere").find(8).name == "process-8"


def test_command_is_cut(tmp_path):
    roots = container(tmp_path)
    (roots["proc_root"] / "7/cmdline").write_bytes(b"x" * 10_000)
    assert ProcessTable(**roots).find(7).command == "x" * 160


def test_command_of_another_user_is_left_out_unless_asked_for(tmp_path, monkeypatch):
    roots = container(tmp_path)
    assert ProcessTable(**roots).find(7).command == "python main.py", "it is this user's"
    monkeypatch.setattr(ids.os, "geteuid", lambda: os.getuid() + 1)
    found = ProcessTable(**roots).find(7)
    assert (found.command, found.name, found.owner_uid) == (None, "process-7", os.getuid())
    assert ProcessTable(**roots, all_commands=True).find(7).command == "python main.py"


def test_command_and_name_cannot_control_a_terminal(tmp_path):
    roots = container(tmp_path)
    (roots["proc_root"] / "7/cmdline").write_bytes(b"python\0\x1b[2J\nroot: \xe2\x80\xae\0")
    (roots["proc_root"] / "7/comm").write_bytes(b"a\x1b[2J\n")
    found = ProcessTable(**roots).find(7)
    assert (found.command, found.name) == ("python ?[2J?root: ?", "a?[2J")


def test_secret_in_a_command_is_masked(tmp_path):
    roots = container(tmp_path)
    command = [
        "python",
        "main.py",
        "--set",
        "a.token=" + "x" * 200,
        "--api-key",
        "abc",
        "--db=pg://me:pw@host/db",
    ]
    (roots["proc_root"] / "7/cmdline").write_bytes("\0".join(command).encode() + b"\0")
    expected = "python main.py --set a.token=*** --api-key *** --db=pg://me:***@host/db"
    assert ProcessTable(**roots).find(7).command == expected


def test_name_that_hangs_costs_a_moment_and_comes_later():
    go_on = threading.Event()
    asked = []

    def look(key):
        asked.append(key)
        go_on.wait(10)
        return f"name of {key}"

    lookup = PatientLookup(look)
    begun_s = time.monotonic()
    assert lookup(1) is None
    assert lookup(2) is None
    assert time.monotonic() - begun_s < 1.0
    assert asked == [1], "no second thread is put behind one that hangs"
    go_on.set()
    while lookup(1) is None:
        time.sleep(0.01)
    assert lookup(1) == "name of 1"
    assert lookup(2) == "name of 2"
    assert asked == [1, 2], "answers are kept"


def test_lookup_without_room_for_its_thread_has_no_answer_and_asks_again(no_room_for_threads):
    lookup = PatientLookup(lambda key: f"name of {key}")
    with no_room_for_threads():
        assert lookup(1) is None
    assert lookup(1) == "name of 1"


def test_pid_of_a_run_that_another_process_has_got_is_not_the_run(tmp_path):
    recorded_process(tmp_path, 7)
    run = RunProcesses(7, tmp_path)
    assert run.owns(7)
    stat = (tmp_path / "7/stat").read_text()
    (tmp_path / "7/stat").write_text(stat.replace(" 18 ", " 9999 "))
    assert not run.owns(7)


def test_run_that_is_gone_owns_nothing():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = RunProcesses(child.pid)
    assert run.owns(child.pid)
    child.communicate(b"\n", timeout=10)
    assert not run.owns(child.pid)


def test_run_owns_what_descends_from_it_and_nothing_else():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert RunProcesses(os.getpid()).owns(child.pid)
        assert not RunProcesses(child.pid).owns(os.getpid())
        assert not RunProcesses(os.getpid()).owns(os.getppid())
        assert not RunProcesses(os.getpid()).owns(2**22 + 1), "there is no such process"
    finally:
        child.communicate(b"\n", timeout=10)
