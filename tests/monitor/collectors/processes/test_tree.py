"""The run's processes: recorded /proc trees for what is rare, real processes for what is measured."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pylon.monitor.collectors.processes import tree as process_tree
from pylon.monitor.collectors.processes.pss import PssReader
from pylon.monitor.collectors.processes.tree import ProcessTree
from pylon.monitor.status import Absence, ProcessTreeSample

RUN, HOST = 100, 200
MIB = 2**20
REPOSITORY = Path(__file__).resolve().parents[4]


class Recorded:
    """A /proc tree written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tree = ProcessTree(RUN, HOST, PssReader(10.0, supported=False), root)

    def has(
        self, pid: int, parent: int, *, started: int = 50, state: str = "S", ticks: int = 0, threads: int = 1,
        pages: int = 10, name: str = "python",
    ) -> None:  # fmt: skip
        folder = self.root / str(pid)
        folder.mkdir(exist_ok=True)
        before = f"{pid} ({name}) {state} {parent} 1 1 0 -1 4194304 0 0 0 0 {ticks} 0 0 0 20 0"
        (folder / "stat").write_text(
            f"{before} {threads} 0 {started} 1000000 {pages} 18446744073709551615 1 1\n"
        )

    def ends(self, pid: int) -> None:
        (self.root / str(pid) / "stat").unlink()
        (self.root / str(pid)).rmdir()

    def read(self, now_s: float = 0.0, *, all_processes: bool = True) -> ProcessTreeSample:
        lost = self.tree.locate_run()
        assert lost is None, lost
        if all_processes:
            self.tree.find_all()
        else:
            self.tree.find_new()
        sample = self.tree.read(now_s, slow=True)
        assert isinstance(sample, ProcessTreeSample), sample
        return sample


@pytest.fixture
def recorded(tmp_path: Path) -> Recorded:
    recorded = Recorded(tmp_path)
    recorded.has(1, 0, started=0)
    recorded.has(RUN, 1)
    return recorded


@pytest.mark.parametrize("all_processes", [True, False])
def test_descendants_belong_to_the_run_and_the_monitors_do_not(recorded, all_processes) -> None:
    recorded.has(101, RUN, threads=4, pages=20)
    recorded.has(102, 101, threads=2, pages=30)
    recorded.has(HOST, RUN)
    recorded.has(201, HOST)
    recorded.has(202, 201)
    recorded.has(300, 1)
    sample = recorded.read(all_processes=all_processes)
    assert recorded.tree.pids == {RUN, 101, 102}
    assert (sample.processes, sample.threads, sample.zombies) == (3, 7, 0)
    assert sample.rss_bytes == 60 * os.sysconf("SC_PAGE_SIZE")


def test_new_processes_are_found_without_reading_the_old_ones_again(recorded, monkeypatch) -> None:
    for pid in range(1000, 1100):
        recorded.has(pid, 1)
    recorded.read(all_processes=False)
    recorded.has(101, RUN)
    recorded.has(102, 101)
    asked: set[int] = set()
    stats = process_tree.process_stats

    def noting(root, pids):
        asked.update(pids)
        return stats(root, pids)

    monkeypatch.setattr(process_tree, "process_stats", noting)
    assert recorded.read(1.0, all_processes=False).processes == 3
    assert asked == {RUN, 101, 102}


def test_process_whose_parent_ended_stays_with_the_run(recorded) -> None:
    recorded.has(101, RUN)
    recorded.has(102, 101)
    recorded.read()
    recorded.ends(101)
    recorded.has(102, 1)
    assert recorded.read(1.0).processes == 2
    assert recorded.tree.pids == {RUN, 102}


def test_pid_in_other_hands_does_not_belong_to_the_run(recorded) -> None:
    recorded.has(101, RUN, started=60, ticks=500)
    recorded.read()
    recorded.ends(101)
    recorded.has(101, 1, started=900, ticks=90_000)
    sample = recorded.read(1.0, all_processes=False)
    assert (sample.processes, sample.cpu_percent) == (1, 0.0)


def test_strangers_pid_that_the_run_takes_is_found_at_the_full_look(recorded) -> None:
    recorded.has(101, 1, started=10)
    recorded.read(all_processes=False)
    recorded.ends(101)
    recorded.has(101, RUN, started=900)
    assert recorded.read(1.0, all_processes=True).processes == 2


def test_child_older_than_its_parent_is_somebody_elses(recorded) -> None:
    recorded.has(101, RUN, started=49)
    assert recorded.read().processes == 1


def test_zombies_are_counted_apart(recorded) -> None:
    recorded.has(101, RUN, state="Z", threads=1, pages=0)
    sample = recorded.read()
    assert (sample.processes, sample.zombies, sample.threads) == (1, 1, 1)


def test_cpu_of_a_process_that_came_or_went_makes_no_jump(recorded) -> None:
    recorded.has(RUN, 1, ticks=1000)
    recorded.has(101, RUN, ticks=5000)
    first = recorded.read(0.0)
    assert (first.cpu_percent, first.absent["cpu_percent"]) == (None, Absence.STARTING)
    recorded.has(RUN, 1, ticks=1050)
    recorded.ends(101)
    recorded.has(102, RUN, ticks=7000)
    assert recorded.read(1.0).cpu_percent == pytest.approx(100 * 50 / os.sysconf("SC_CLK_TCK"))


def test_counter_that_went_back_is_no_negative_rate(recorded) -> None:
    recorded.has(RUN, 1, ticks=1000)
    recorded.read(0.0)
    recorded.has(RUN, 1, ticks=10)
    sample = recorded.read(1.0)
    assert (sample.cpu_percent, sample.absent["cpu_percent"]) == (None, Absence.STARTING)


@pytest.mark.parametrize("name", ["a b", ") R 1 (", "((", "x) Z 1 1", "\n"])
def test_names_may_hold_anything(recorded, name) -> None:
    recorded.has(101, RUN, name=name, threads=5)
    sample = recorded.read()
    assert (sample.processes, sample.threads) == (2, 6)


@pytest.mark.parametrize("text", ["", "101", "101 (x", "101 (x) S one 1", "101 (x) S 100 1 1"])
def test_nonsense_of_one_process_costs_only_that_one(recorded, text) -> None:
    recorded.has(101, RUN)
    recorded.has(102, RUN)
    (recorded.root / "101/stat").write_text(text)
    assert recorded.read().processes == 2


def test_process_that_ends_between_two_looks(recorded) -> None:
    recorded.has(101, RUN)
    recorded.read()
    recorded.ends(101)
    sample = recorded.tree.read(1.0, slow=False)
    assert isinstance(sample, ProcessTreeSample)
    assert sample.processes == 1


@pytest.mark.parametrize("state", ["gone", "Z", "X"])
def test_run_that_has_ended_is_lost(recorded, state) -> None:
    recorded.read()
    if state == "gone":
        recorded.ends(RUN)
    else:
        recorded.has(RUN, 1, state=state)
    assert recorded.tree.locate_run() is Absence.LOST


def test_runs_pid_in_other_hands_is_not_the_run(recorded) -> None:
    recorded.read()
    recorded.has(RUN, 1, started=999)
    assert recorded.tree.locate_run() is Absence.LOST


def test_run_that_never_was_is_lost(tmp_path) -> None:
    assert ProcessTree(RUN, None, PssReader(10.0, supported=False), tmp_path).locate_run() is Absence.LOST


def test_run_that_may_not_be_looked_at_is_denied(recorded, monkeypatch) -> None:
    def refusing(root, pid):
        raise PermissionError(13, "no")

    monkeypatch.setattr(process_tree, "process_stat", refusing)
    assert recorded.tree.locate_run() is Absence.DENIED


def test_proc_that_cannot_be_listed_leaves_the_known_ones(recorded, monkeypatch) -> None:
    recorded.has(101, RUN)
    recorded.read()

    def refusing(root):
        raise PermissionError(13, "no")

    monkeypatch.setattr(process_tree, "process_ids", refusing)
    assert recorded.read(1.0, all_processes=True).processes == 2
    assert recorded.read(2.0, all_processes=False).processes == 2


# Real processes ------------------------------------------------------------------------------------

CHILD = """
import os, subprocess, sys, threading
kept, files, stop = [], [], threading.Event()
for line in sys.stdin:
    word, _, value = line.strip().partition(" ")
    if word == "burn":
        end = os.times().user + float(value)
        while os.times().user < end:
            sum(range(1000))
    elif word == "memory":
        kept.append(bytearray(os.urandom(4096) * (int(value) // 4096)))
    elif word == "files":
        files += [open(os.devnull) for _ in range(int(value))]
    elif word == "threads":
        for _ in range(int(value)):
            threading.Thread(target=stop.wait, daemon=True).start()
    elif word == "write":
        path, _, size = value.rpartition(" ")
        with open(path, "wb") as file:
            file.write(os.urandom(int(size)))
            file.flush()
            os.fsync(file.fileno())
    elif word == "child":
        kept.append(subprocess.Popen(["cat"], stdin=subprocess.PIPE))
        print(kept[-1].pid, flush=True)
    elif word == "zombie":
        kept.append(subprocess.Popen(["true"]))
    print("done", flush=True)
"""


class Real:
    """A process that does what it is told."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.tree = ProcessTree(self.process.pid, None, PssReader(0.01), Path("/proc"))

    def do(self, order: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        answers = []
        while (answer := self.process.stdout.readline().strip()) != "done":
            assert answer, "the process has ended"
            answers.append(answer)
        return " ".join(answers)

    def read(self) -> ProcessTreeSample:
        lost = self.tree.locate_run()
        assert lost is None, lost
        self.tree.find_all()
        sample = self.tree.read(time.monotonic(), slow=True)
        assert isinstance(sample, ProcessTreeSample), sample
        return sample

    def until(self, holds: Callable[[ProcessTreeSample], bool]) -> ProcessTreeSample:
        give_up_s = time.monotonic() + 20
        while not holds(sample := self.read()):
            assert time.monotonic() < give_up_s, sample
            time.sleep(0.02)
        return sample


@pytest.fixture
def real() -> Iterator[Real]:
    real = Real()
    real.do("ready")
    yield real
    assert real.process.stdin is not None
    real.process.stdin.close()
    real.process.wait(20)
    assert real.process.stdout is not None
    real.process.stdout.close()


def test_busy_process_shows_its_cpu(real) -> None:
    real.read()
    started_s, started_cpu_s = time.monotonic(), os.times().elapsed
    real.do("burn 0.5")
    sample = real.read()
    elapsed_s = max(time.monotonic() - started_s, os.times().elapsed - started_cpu_s)
    assert sample.cpu_percent is not None
    # Half a second of CPU in the time it took on a machine that may be busy otherwise.
    assert 0.8 * 50 / elapsed_s < sample.cpu_percent < 130


def test_allocated_memory_shows(real) -> None:
    before = real.until(
        lambda sample: sample.pss_bytes is not None or Absence.UNSUPPORTED in sample.absent.values()
    )
    real.do(f"memory {64 * MIB}")
    after = real.until(
        lambda sample: sample.pss_monotonic_s != before.pss_monotonic_s or sample.pss_bytes is None
    )
    assert before.rss_bytes is not None
    assert after.rss_bytes is not None
    assert 60 * MIB < after.rss_bytes - before.rss_bytes < 100 * MIB
    if before.pss_bytes is not None:
        after = real.until(lambda sample: (sample.pss_bytes or 0) - before.pss_bytes > 60 * MIB)
        assert after.rss_bytes is not None
        assert after.pss_bytes is not None
        assert after.pss_bytes <= after.rss_bytes + MIB


def test_opened_files_and_threads_show(real) -> None:
    before = real.read()
    real.do("files 37")
    real.do("threads 5")
    after = real.read()
    assert before.open_files is not None
    assert before.threads is not None
    assert (after.open_files, after.threads) == (before.open_files + 37, before.threads + 5)


def test_written_bytes_show(real, tmp_path) -> None:
    start = real.read()
    if start.absent.get("write_bytes_per_s") is Absence.UNSUPPORTED:
        pytest.skip("this kernel does not count I/O of processes")
    assert start.absent["write_bytes_per_s"] is Absence.STARTING
    started_s = time.monotonic()
    real.do(f"write {tmp_path / 'written'} {8 * MIB}")
    sample = real.until(lambda one: one.write_bytes_per_s is not None)
    elapsed_s = time.monotonic() - started_s
    assert sample.write_bytes_per_s is not None
    if sample.write_bytes_per_s == 0.0:
        pytest.skip("the test's folder is in memory")
    assert 0.8 * 8 * MIB < sample.write_bytes_per_s * elapsed_s < 2 * 8 * MIB
    assert sample.read_bytes_per_s is not None


def test_children_are_found_and_ended_ones_leave(real) -> None:
    assert real.read().processes == 1
    child = int(real.do("child"))
    assert real.until(lambda sample: sample.processes == 2)
    assert real.tree.pids == {real.process.pid, child}
    os.kill(child, 9)
    sample = real.until(lambda one: one.processes == 1)
    assert sample.zombies == 1, "its parent has not waited for it"


def test_zombies_of_a_real_process(real) -> None:
    real.do("zombie")
    sample = real.until(lambda one: one.zombies == 1)
    assert sample.processes == 1


def test_killed_run_is_lost_before_and_after_it_is_waited_for(real) -> None:
    real.read()
    real.process.kill()
    give_up_s = time.monotonic() + 20
    while real.tree.locate_run() is not Absence.LOST:
        assert time.monotonic() < give_up_s
        time.sleep(0.01)
    real.process.wait(20)
    assert real.tree.locate_run() is Absence.LOST


def test_stopped_process_is_still_read(real) -> None:
    real.read()
    os.kill(real.process.pid, 19)
    try:
        sample = real.read()
        assert sample.processes == 1
        assert sample.rss_bytes
    finally:
        os.kill(real.process.pid, 18)


def test_memory_that_is_read_in_a_thread_is_absent_where_none_can_be_started(no_room_for_threads) -> None:
    reader = PssReader(1.0, lambda pid: 5, supported=True)
    with no_room_for_threads():
        assert reader.read(0.0, [1]).pss_bytes is Absence.UNREACHABLE
    assert reader.read(100.0, [1]).pss_bytes == 5


OTHER_USER = """
import json, os, sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from pylon.monitor.collectors.processes.pss import PssReader
from pylon.monitor.collectors.processes.tree import ProcessTree
os.setgroups([]), os.setgid(65534), os.setuid(65534)
tree = ProcessTree(int(sys.argv[1]), None, PssReader(10.0), Path("/proc"))
told = tree.locate_run()
if told is None:
    tree.find_all()
    sample = tree.read(time.monotonic(), slow=True)
    told = [sample.processes, sample.rss_bytes > 0, sample.processes_denied]
    told.append({name: reason.value for name, reason in sample.absent.items()})
print(json.dumps(told, default=str))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_other_users_process_reports_what_it_may_and_why_not_the_rest(real) -> None:
    command = [sys.executable, "-c", OTHER_USER, str(real.process.pid), str(REPOSITORY)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    told = json.loads(done.stdout)
    if told == str(Absence.LOST):
        pytest.skip("/proc hides other users' processes")
    *figures, absent = told
    assert figures == [1, True, 1]
    denied = {"open_files", "read_bytes_per_s", "write_bytes_per_s", "pss_bytes"}
    assert {name for name, reason in absent.items() if reason == "denied"} >= denied - {
        name for name, reason in absent.items() if reason == "unsupported"
    }
