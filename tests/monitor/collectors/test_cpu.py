"""The whole CPU sample of this machine, and its monitor's settings."""

import dataclasses
import math
import os
import pickle
import subprocess
import sys
import time
from typing import Any

import psutil
import pytest

from pylon.monitor import CPUMonitor
from pylon.monitor.collectors import cpu
from pylon.monitor.collectors.cpu import CPUCollector
from pylon.monitor.collectors.proc import process_stat
from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.status import (
    Absence,
    CgroupSample,
    CPUSample,
    CPUStatus,
    ProcessTreeSample,
    Scope,
    TopProcess,
    origins,
)
from pylon.monitor.status.windows import CPUWindows

# None is the answer itself there: no limit, or no period passed.
NO_LIMIT = {"memory_limit_bytes", "memory_limit_used_bytes", "cpu_limit_cores", "throttled_percent"}


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def check_reasons(sample: CPUSample | CgroupSample | ProcessTreeSample) -> None:
    """Every absent value has a reason, no present one has."""
    for one in dataclasses.fields(sample):
        value = getattr(sample, one.name)
        if value is None and one.name not in NO_LIMIT and not one.name.endswith("_monotonic_s"):
            assert one.name in sample.absent, one.name
        if one.name in sample.absent:
            assert value is None, one.name
        if isinstance(value, float):
            assert math.isfinite(value), one.name
    for part in (getattr(sample, "cgroup", None), getattr(sample, "run", None)):
        if part is not None:
            check_reasons(part)


def test_first_sample_has_levels_and_reports_that_rates_are_starting(clock) -> None:
    sample = CPUCollector(os.getpid(), clock=clock).collect()
    check_reasons(sample)
    assert sample.absent["cpu_percent"] is Absence.STARTING
    assert sample.absent["core_percent"] is Absence.STARTING
    assert sample.absent["net_received_bytes_per_s"] in {Absence.STARTING, Absence.UNSUPPORTED}
    assert sample.memory_total_bytes == psutil.virtual_memory().total
    assert sample.run is not None
    assert sample.run.rss_bytes
    assert sample.run.absent["cpu_percent"] is Absence.STARTING
    assert sample.top_processes
    assert (sample.slow_monotonic_s, sample.top_monotonic_s) == (clock.now_s, clock.now_s)


def test_later_samples_have_rates(clock) -> None:
    collector = CPUCollector(os.getpid(), clock=clock)
    collector.collect()
    # The kernel's clocks must move too: a core's by 10 ms at least.
    end_s = time.process_time() + 0.1
    while time.process_time() < end_s:
        sum(range(1000))
    # Counters that move much less than this clock are taken as standing still.
    clock.now_s += 0.2
    sample = collector.collect()
    check_reasons(sample)
    assert sample.cpu_percent is not None
    assert 0 <= sample.cpu_percent <= 100
    assert sample.core_percent is not None
    assert len(sample.core_percent) == psutil.cpu_count()
    assert sample.run is not None
    assert sample.run.cpu_percent is not None
    assert sample.run.cpu_percent >= 5


def test_slow_values_keep_the_time_they_were_read(clock) -> None:
    collector = CPUCollector(os.getpid(), slow_interval_s=10.0, clock=clock)
    start_s = clock.now_s
    seen = []
    for step in range(25):
        clock.now_s = start_s + step
        seen.append(collector.collect().slow_monotonic_s)
    assert seen == [start_s] * 10 + [start_s + 10] * 10 + [start_s + 20] * 5


def test_members_are_looked_for_every_few_seconds_and_all_processes_rarely(clock, monkeypatch) -> None:
    collector = CPUCollector(os.getpid(), slow_interval_s=20.0, clock=clock)
    looks = []
    tree = collector._tree
    monkeypatch.setattr(tree, "find_all", lambda find=tree.find_all: looks.append("all") or find())
    monkeypatch.setattr(tree, "find_new", lambda find=tree.find_new: looks.append("new") or find())
    # A look that takes no time to speak of; on a host with many processes both are made more rarely.
    monkeypatch.setattr(cpu.time, "thread_time", lambda: 0.0)
    for _ in range(41):
        collector.collect()
        clock.now_s += 1.0
    assert looks == ["all", "new", "new", "new"] * 2 + ["all"]


def test_ended_run_is_absent_with_a_reason_and_the_host_goes_on(clock) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as run:
        collector = CPUCollector(run.pid, clock=clock)
        assert collector.collect().run is not None
        run.kill()
        run.wait(20)
    clock.now_s += 1.0
    sample = collector.collect()
    check_reasons(sample)
    assert (sample.run, sample.absent["run"]) == (None, Absence.LOST)
    assert sample.memory_used_bytes


def test_monitors_own_process_is_left_out(clock) -> None:
    code = "import subprocess; subprocess.run(['cat'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as host:
        give_up_s = time.monotonic() + 20
        while not psutil.Process(host.pid).children():
            assert time.monotonic() < give_up_s
            time.sleep(0.01)
        with_all = CPUCollector(os.getpid(), clock=clock).collect().run
        without = CPUCollector(os.getpid(), left_out_pid=host.pid, clock=clock).collect().run
    assert with_all is not None
    assert without is not None
    assert with_all.processes == (without.processes or 0) + 2


@pytest.mark.parametrize("hidden", [False, True])
def test_processes_of_others_that_the_system_hides_are_reported(
    monkeypatch: pytest.MonkeyPatch, clock: Any, hidden: bool
) -> None:
    """With /proc's hidepid, not even the first process can be read."""
    collector = CPUCollector(os.getpid(), clock=clock)
    find_all = collector._tree.find_all
    seen = {1: process_stat("/proc", os.getpid())}
    monkeypatch.setattr(
        collector._tree,
        "find_all",
        lambda: {pid: stat for pid, stat in (seen | find_all()).items() if not (hidden and pid == 1)},
    )
    assert collector.collect().others_hidden is hidden


def test_missing_proc_and_cgroup_trees(tmp_path, clock) -> None:
    collector = CPUCollector(os.getpid(), proc_root=tmp_path / "no", cgroup_root=tmp_path / "no", clock=clock)
    sample = collector.collect()
    check_reasons(sample)
    assert (sample.run, sample.cgroup, sample.top_processes) == (None, None, None)


def test_nothing_that_psutil_refuses_ends_a_reading(monkeypatch, clock) -> None:
    def refusing(*_, **__):
        raise PermissionError(13, "no")

    for name in (
        "cpu_times",
        "disk_io_counters",
        "net_io_counters",
        "getloadavg",
    ):
        monkeypatch.setattr(psutil, name, refusing)
    for name in ("io_counters", "num_fds", "memory_full_info", "uids"):
        monkeypatch.setattr(psutil.Process, name, refusing)
    sample = CPUCollector(os.getpid(), clock=clock).collect()
    check_reasons(sample)
    assert sample.absent["load_1m"] is Absence.DENIED
    assert sample.run is not None
    assert sample.run.absent["open_files"] is Absence.DENIED
    assert sample.run.processes_denied == sample.run.processes


def test_every_measured_field_has_its_origin() -> None:
    unmeasured = {
        "monotonic_s",
        "wall_time_s",
        "absent",
        "version",
        "cgroup",
        "run",
        "processes_denied",
        "others_hidden",
        "side",
    }
    for kind, scopes in (
        (CPUSample, {Scope.HOST}),
        (CgroupSample, {Scope.CGROUP}),
        (ProcessTreeSample, {Scope.PROCESS}),
        (TopProcess, {Scope.PROCESS, Scope.HOST}),
    ):
        found = origins(kind)
        names = {one.name for one in dataclasses.fields(kind) if not one.name.endswith("monotonic_s")}
        assert names - found.keys() <= unmeasured
        assert {one.scope for one in found.values()} == scopes


def test_sample_can_be_sent_and_is_small(clock) -> None:
    collector = CPUCollector(os.getpid(), clock=clock)
    sample = collector.collect()
    sent = pickle.dumps(sample)
    assert pickle.loads(sent) == sample
    assert len(sent) < 8192


def test_status_has_windows_of_host_and_run(clock) -> None:
    monitor = CPUMonitor(os.getpid(), window_size=3, slow_interval_s=5.0)
    monitor._init_status_structures()
    status = monitor._update_single_server("localhost")
    assert isinstance(status, CPUStatus)
    assert (status.cpu_percent.count, status.memory_used_bytes.count, status.run_rss_bytes.count) == (0, 1, 1)
    assert status.run_rss_bytes.newest == status.sample.run.rss_bytes
    assert isinstance(monitor._windows, CPUWindows)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, True, "10"])
def test_slow_interval_is_checked(value) -> None:
    with pytest.raises(MonitorSettingError, match="slow_interval_s"):
        CPUMonitor(slow_interval_s=value)
