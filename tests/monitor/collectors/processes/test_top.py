"""Proportional set sizes that may hang, and the host's busiest processes."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest

from pylon.monitor.collectors.proc import ProcessStat, process_ids, process_stats
from pylon.monitor.collectors.processes.pss import PssReader
from pylon.monitor.collectors.processes.top import TopProcesses
from pylon.monitor.status import Absence

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def test_sum_of_all_that_can_be_read() -> None:
    def read(pid: int) -> int:
        if pid == 2:
            raise psutil.AccessDenied(pid)
        if pid == 3:
            raise psutil.NoSuchProcess(pid)
        return 100 * pid

    figure = PssReader(10.0, read, supported=True).read(5.0, [1, 2, 3, 4])
    assert (figure.pss_bytes, figure.denied, figure.monotonic_s) == (500, 1, 5.0)


def test_all_denied_is_denied_not_zero() -> None:
    def read(pid: int) -> int:
        raise psutil.AccessDenied(pid)

    figure = PssReader(10.0, read, supported=True).read(5.0, [1, 2])
    assert (figure.pss_bytes, figure.denied) == (Absence.DENIED, 2)


def test_kernel_that_does_not_sum_up_is_not_asked() -> None:
    figure = PssReader(10.0, lambda pid: 1 // 0, supported=False).read(5.0, [1])
    assert figure.pss_bytes is Absence.UNSUPPORTED


def test_between_readings_the_former_one_stays_with_its_time() -> None:
    answers = iter([100, 200])
    reader = PssReader(10.0, lambda pid: next(answers), supported=True)
    reader.read(0.0, [1])
    assert (reader.read(9.0, [1]).pss_bytes, reader.read(9.0, [1]).monotonic_s) == (100, 0.0)
    assert (reader.read(10.0, [1]).pss_bytes, reader.read(10.0, [1]).monotonic_s) == (200, 10.0)


def test_process_stuck_in_the_kernel_delays_no_other_reading() -> None:
    stuck, asked = threading.Event(), []

    def read(pid: int) -> int:
        asked.append(pid)
        assert stuck.wait(30)
        return 7

    reader = PssReader(1.0, read, supported=True)
    before_s = time.monotonic()
    assert reader.read(0.0, [1]).pss_bytes is Absence.HUNG
    for now_s in range(1, 200):
        assert reader.read(float(now_s), [1]).pss_bytes is Absence.HUNG
    assert time.monotonic() - before_s < 5
    assert asked == [1], "no second thread beside the one that is stuck"
    stuck.set()
    give_up_s = time.monotonic() + 20
    while reader.read(0.5, [1]).pss_bytes is Absence.HUNG:
        assert time.monotonic() < give_up_s
        time.sleep(0.01)
    assert reader.read(0.5, [1]).pss_bytes == 7


def stat(pid: int, ticks: int = 0, pages: int = 0, *, started: int = 1, name: bytes = b"x") -> ProcessStat:
    return ProcessStat(pid, 1, name, False, ticks, 1, started, pages)


def ranked(top: TopProcesses, now_s: float, *stats: ProcessStat, of_run: frozenset[int] = frozenset()):
    return top.rank(now_s, {one.pid: one for one in stats}, of_run)


# Pids that no process of this machine has.
P = 2**22 + 1


def test_half_for_cpu_and_the_rest_for_memory() -> None:
    top = TopProcesses(most=4)
    ranked(top, 0.0, *(stat(P + number) for number in range(6)))
    found = ranked(
        top, 10.0,
        stat(P, TICKS * 5), stat(P + 1, TICKS * 20), stat(P + 2, TICKS * 10),
        stat(P + 3, 0, 300), stat(P + 4, 0, 100), stat(P + 5, 0, 200),
        of_run=frozenset({P + 3}),
    )  # fmt: skip
    assert [one.pid - P for one in found] == [1, 2, 3, 5]
    assert [one.cpu_percent for one in found] == [200.0, 100.0, 0.0, 0.0]
    assert [one.rss_bytes for one in found] == [0, 0, 300 * PAGE, 200 * PAGE]
    assert [one.of_run for one in found] == [False, False, True, False]


def test_first_list_knows_no_cpu() -> None:
    found = ranked(TopProcesses(), 0.0, stat(P, 10**6, 5))
    assert [(one.pid, one.cpu_percent) for one in found] == [(P, None)]


def test_pid_in_other_hands_has_no_cpu_figure() -> None:
    top = TopProcesses()
    ranked(top, 0.0, stat(P, 1000, started=1))
    assert ranked(top, 1.0, stat(P, 99_000, started=2))[0].cpu_percent is None


def test_list_is_bounded_on_a_large_host() -> None:
    top = TopProcesses(most=10)
    for now_s in (0.0, 10.0):
        found = ranked(top, now_s, *(stat(P + n, int(now_s) * n, n) for n in range(3000)))
    assert len(found) == 10
    assert len({one.pid for one in found}) == 10


def test_name_cannot_steer_a_terminal() -> None:
    found = ranked(TopProcesses(), 0.0, stat(P, name=b"\x1b[31m\n\xff\x00ok"))
    assert found[0].name == "?[31m?�?ok"


def test_command_line_is_not_reported() -> None:
    secret = "hunter2secret"
    code = "import sys; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, secret], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        child.stdout.readline()  # before it runs, the kernel may count no page of its memory
        top = TopProcesses(most=10**6)
        found = top.rank(0.0, process_stats("/proc", process_ids("/proc")), {child.pid})
        mine = [one for one in found if one.of_run]
        assert [one.pid for one in mine] == [child.pid]
        assert mine[0].user == psutil.Process(child.pid).username()
        assert mine[0].rss_bytes > 0
        assert secret not in repr(found)
    finally:
        child.communicate(timeout=20)


def test_owner_without_a_name_is_a_number(monkeypatch) -> None:
    monkeypatch.setattr("pylon.monitor.collectors.processes.top.user_name", lambda uid: None)
    found = TopProcesses().rank(0.0, process_stats("/proc", {os.getpid()}), set())
    assert found[0].user == str(os.getuid())


@pytest.mark.parametrize("name", ["cpu_percent", "name", "user"])
def test_process_that_ends_meanwhile_is_listed_with_what_is_known(name) -> None:
    found = ranked(TopProcesses(), 0.0, stat(P, name=b"gone"))[0]
    assert getattr(found, name) == {"cpu_percent": None, "name": "gone", "user": None}[name]
