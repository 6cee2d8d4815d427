"""Control groups, from trees as kernels and container runtimes lay them out."""

import os
from pathlib import Path

import pytest

from pylon.monitor.collectors import proc
from pylon.monitor.collectors.cgroup.local import CgroupReader
from pylon.monitor.status import Absence, CgroupSample

PID = 4711
V1_UNLIMITED = "9223372036854771712\n"
GIB = 2**30


class Machine:
    """A recorded /proc/PID/cgroup and /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.proc, self.groups = root / "proc", root / "cgroup"
        (self.proc / str(PID)).mkdir(parents=True)
        self.reader = CgroupReader(PID, self.proc, self.groups)

    def member_of(self, *lines: str) -> None:
        (self.proc / str(PID) / "cgroup").write_text("".join(f"{line}\n" for line in lines))

    def write(self, folder: str, **files: str) -> None:
        target = self.groups / folder
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            # memory__max stands for memory.max, and v1 has single underscores of its own.
            (target / name.replace("__", ".")).write_text(text)

    def v2(self, path: str) -> None:
        self.write("", cgroup__controllers="cpuset cpu io memory pids\n")
        self.member_of(f"0::{path}")

    def read(self, now_s: float = 0.0, *, slow: bool = True, cores: int | None = 8) -> CgroupSample:
        sample = self.reader.read(now_s, cores, slow=slow)
        assert isinstance(sample, CgroupSample), sample
        return sample


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def cpu_stat(used_us: int, periods: int = 0, throttled: int = 0, throttled_us: int = 0) -> str:
    return (
        f"usage_usec {used_us}\nuser_usec 1\nsystem_usec 1\nnr_periods {periods}\n"
        f"nr_throttled {throttled}\nthrottled_usec {throttled_us}\n"
    )


def test_v2_group_has_all_figures(machine) -> None:
    machine.v2("/job")
    machine.write(
        "job",
        memory__current="1073741824\n",
        memory__max="4294967296\n",
        memory__peak="2147483648\n",
        memory__stat="anon 500\nfile 900\ninactive_anon 7\ninactive_file 805306368\nactive_file 1\n",
        memory__events="low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\n",
        cpu__max="150000 100000\n",
        cpu__stat=cpu_stat(5_000_000, 100, 25, 2_500_000),
        cpuset__cpus__effective="0-3,8,10-11\n",
        cpu__pressure="some avg10=12.50 avg60=1.00 avg300=0.10 total=5\nfull avg10=0.00 avg60=0 total=0\n",
        memory__pressure="some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n",
        io__pressure="some avg10=3.25 avg60=0.00 avg300=0.00 total=0\n",
    )
    sample = machine.read()
    assert (sample.version, sample.memory_used_bytes, sample.memory_limit_bytes) == (2, GIB, 4 * GIB)
    assert (sample.memory_limit_used_bytes, sample.memory_peak_bytes, sample.oom_kills) == (GIB, 2 * GIB, 3)
    assert sample.memory_working_set_bytes == GIB // 4, "used less inactive page cache"
    assert (sample.cpu_limit_cores, sample.cpuset_cores, sample.cpu_used_s) == (1.5, 7, 5.0)
    assert (sample.periods, sample.throttled_periods, sample.throttled_s) == (100, 25, 2.5)
    pressure = (sample.cpu_pressure_percent, sample.memory_pressure_percent, sample.io_pressure_percent)
    assert pressure == (12.5, 0.0, 3.25)
    starting = {"cpu_used_cores", "cpu_percent", "throttled_percent"}
    assert sample.absent == dict.fromkeys(starting, Absence.STARTING)


def test_rates_are_of_the_time_between_two_readings(machine) -> None:
    machine.v2("/job")
    machine.write("job", cpu__max="200000 100000", cpu__stat=cpu_stat(1_000_000, 100, 10))
    machine.read(10.0)
    machine.write("job", cpu__stat=cpu_stat(4_000_000, 120, 15))
    sample = machine.read(12.0, slow=False)
    assert sample.cpu_used_cores == pytest.approx(1.5)
    assert sample.cpu_percent == pytest.approx(75.0), "1.5 of 2 cores"
    assert sample.throttled_percent == pytest.approx(25.0), "5 of 20 periods"
    assert "cpu_used_cores" not in sample.absent


@pytest.mark.parametrize(
    ("quota", "cpuset", "cores", "percent"),
    [("max 100000", "0-7", 8, 12.5), ("max 100000", "0-1", 8, 50.0), ("50000 100000", "0-1", 8, 200.0)],
)
def test_share_is_of_what_binds_most(machine, quota, cpuset, cores, percent) -> None:
    machine.v2("/job")
    machine.write("job", cpu__max=quota, cpuset__cpus__effective=cpuset, cpu__stat=cpu_stat(0))
    machine.read(0.0, cores=cores)
    machine.write("job", cpu__stat=cpu_stat(1_000_000))
    assert machine.read(1.0, cores=cores).cpu_percent == pytest.approx(percent)


def test_counter_that_went_back_gives_no_rate(machine) -> None:
    machine.v2("/job")
    machine.write("job", cpu__stat=cpu_stat(9_000_000, 50, 5))
    machine.read(0.0)
    machine.write("job", cpu__stat=cpu_stat(1_000_000, 5, 0))
    sample = machine.read(1.0)
    assert (sample.cpu_used_cores, sample.cpu_percent, sample.throttled_percent) == (None, None, None)
    assert sample.absent["cpu_used_cores"] is Absence.STARTING
    machine.write("job", cpu__stat=cpu_stat(2_000_000, 15, 5))
    after = machine.read(2.0)
    assert (after.cpu_used_cores, after.throttled_percent) == (pytest.approx(1.0), pytest.approx(50.0))


def test_without_limits_none_has_no_reason(machine) -> None:
    machine.v2("/job")
    machine.write(
        "job", memory__current="5", memory__max="max\n", cpu__max="max 100000\n", cpu__stat=cpu_stat(1)
    )
    sample = machine.read()
    assert (sample.memory_limit_bytes, sample.memory_limit_used_bytes, sample.cpu_limit_cores) == (None,) * 3
    assert not {"memory_limit_bytes", "memory_limit_used_bytes", "cpu_limit_cores"} & sample.absent.keys()


def test_tightest_limit_of_all_levels_binds(machine) -> None:
    machine.v2("/slurm/job_1/step_0/task_0")
    machine.write(
        "slurm", memory__max="max", memory__current="800", cpu__max="max 100000", cpu__stat=cpu_stat(9)
    )
    machine.write(
        "slurm/job_1",
        memory__max="500",
        memory__current="400",
        cpu__max="100000 100000",
        cpu__stat=cpu_stat(7, 40, 30, 2_000_000),
    )
    machine.write("slurm/job_1/step_0", memory__max="600", memory__current="300", cpu__max="400000 100000")
    machine.write(
        "slurm/job_1/step_0/task_0", memory__max="max", memory__current="100", cpu__stat=cpu_stat(3)
    )
    sample = machine.read()
    assert (sample.memory_used_bytes, sample.memory_limit_bytes) == (100, 500)
    assert sample.memory_limit_used_bytes == 400, "of the level that sets the limit"
    assert (sample.cpu_limit_cores, sample.cpu_used_s) == (1.0, 3e-6)
    assert (sample.throttled_periods, sample.throttled_s) == (30, 2.0), "of the level whose quota runs out"


@pytest.mark.parametrize(
    ("used", "stat", "wanted"),
    [
        ("100", "inactive_file 120\n", 0),
        ("100", "anon 5\n", Absence.UNSUPPORTED),
        ("100", None, Absence.UNSUPPORTED),
        ("x", "inactive_file 5\n", Absence.UNREACHABLE),
    ],
)
def test_working_set_is_never_guessed(machine, used, stat, wanted) -> None:
    machine.v2("/job")
    machine.write("job", memory__current=used, **({} if stat is None else {"memory__stat": stat}))
    sample = machine.read()
    assert sample.absent.get("memory_working_set_bytes", sample.memory_working_set_bytes) == wanted


def test_working_set_is_of_one_moment(machine) -> None:
    machine.v2("/job")
    machine.write("job", memory__current="100", memory__stat="inactive_file 60\n")
    machine.read(0.0)
    machine.write("job", memory__current="50")
    assert machine.read(1.0, slow=False).memory_working_set_bytes == 40
    assert machine.read(2.0).memory_working_set_bytes == 0


def test_limits_change_at_the_slow_tier(machine) -> None:
    machine.v2("/job")
    machine.write("job", memory__current="5", memory__max="100")
    machine.read(0.0)
    machine.write("job", memory__current="6", memory__max="200")
    fast = machine.read(1.0, slow=False)
    assert (fast.memory_used_bytes, fast.memory_limit_bytes) == (6, 100)
    assert machine.read(2.0).memory_limit_bytes == 200


def test_v1_group_has_the_same_figures(machine) -> None:
    machine.member_of("5:memory:/docker/abc", "4:cpu,cpuacct:/docker/abc", "3:cpuset:/docker/abc")
    machine.write(
        "memory/docker/abc",
        memory__usage_in_bytes="100\n",
        memory__limit_in_bytes="300\n",
        memory__max_usage_in_bytes="200\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
        memory__stat="cache 40\ninactive_file 20\ntotal_cache 60\ntotal_inactive_file 30\n",
    )
    machine.write("memory", memory__limit_in_bytes=V1_UNLIMITED, memory__usage_in_bytes="900\n")
    machine.write(
        "cpu,cpuacct/docker/abc",
        cpu__cfs_quota_us="250000\n",
        cpu__cfs_period_us="100000\n",
        cpu__stat="nr_periods 10\nnr_throttled 2\nthrottled_time 1500000000\n",
        cpuacct__usage="7000000000\n",
    )
    machine.write("cpuset/docker/abc", cpuset__effective_cpus="0,2\n")
    sample = machine.read()
    assert (sample.version, sample.memory_used_bytes, sample.memory_limit_bytes) == (1, 100, 300)
    assert (sample.memory_peak_bytes, sample.oom_kills, sample.cpuset_cores) == (200, 4, 2)
    assert sample.memory_working_set_bytes == 70, "used includes groups below it: so does what is taken off"
    assert (sample.cpu_limit_cores, sample.cpu_used_s, sample.throttled_s) == (2.5, 7.0, 1.5)
    assert sample.absent["cpu_pressure_percent"] is Absence.UNSUPPORTED


def test_v1_unlimited_is_no_limit(machine) -> None:
    machine.member_of("5:memory:/", "4:cpu:/")
    machine.write("memory", memory__limit_in_bytes=V1_UNLIMITED, memory__usage_in_bytes="900")
    machine.write("cpu", cpu__cfs_quota_us="-1", cpu__cfs_period_us="100000")
    sample = machine.read()
    assert (sample.memory_used_bytes, sample.memory_limit_bytes, sample.cpu_limit_cores) == (900, None, None)
    assert not {"memory_limit_bytes", "cpu_limit_cores"} & sample.absent.keys()


def test_v1_limit_above_the_group_binds(machine) -> None:
    machine.member_of("5:memory:/outer/inner")
    machine.write("memory/outer/inner", memory__limit_in_bytes=V1_UNLIMITED, memory__usage_in_bytes="10")
    machine.write("memory/outer", memory__limit_in_bytes="64", memory__usage_in_bytes="50")
    sample = machine.read()
    assert (sample.memory_limit_bytes, sample.memory_limit_used_bytes) == (64, 50)


def test_hybrid_takes_each_controller_where_it_is(machine) -> None:
    machine.member_of("3:memory:/job", "0::/job")
    machine.write("memory/job", memory__usage_in_bytes="11", memory__limit_in_bytes="22")
    machine.write("unified", cgroup__controllers="cpu\n")
    machine.write(
        "unified/job",
        cpu__stat=cpu_stat(2_000_000),
        cpu__max="100000 100000",
        cpu__pressure="some avg10=1.5 a=1",
    )
    sample = machine.read()
    assert (sample.version, sample.memory_used_bytes, sample.memory_limit_bytes) == (1, 11, 22)
    assert (sample.cpu_used_s, sample.cpu_limit_cores, sample.cpu_pressure_percent) == (2.0, 1.0, 1.5)


def test_container_without_namespace_sees_its_group_at_the_root_of_the_mount(machine) -> None:
    machine.member_of("5:memory:/docker/0123abcd")
    machine.write("memory", memory__usage_in_bytes="70", memory__limit_in_bytes="80")
    assert (machine.read().memory_used_bytes, machine.read().memory_limit_bytes) == (70, 80)


def test_group_below_a_container_is_found_by_the_end_of_its_path(machine) -> None:
    machine.member_of("5:memory:/kubepods/pod7/box/training")
    machine.write("memory", memory__usage_in_bytes="70", memory__limit_in_bytes="80")
    machine.write("memory/training", memory__usage_in_bytes="30", memory__limit_in_bytes=V1_UNLIMITED)
    sample = machine.read()
    assert (sample.memory_used_bytes, sample.memory_limit_bytes) == (30, 80)


def test_cgroup_namespace_root(machine) -> None:
    machine.v2("/")
    machine.write("", memory__current="70", memory__max="80")
    assert (machine.read().memory_used_bytes, machine.read().memory_limit_bytes) == (70, 80)


@pytest.mark.parametrize("path", ["/../..", "/../other", "/gone (deleted)"])
def test_group_outside_the_namespace_is_not_taken_for_another(machine, path) -> None:
    machine.v2(path)
    machine.write("", memory__current="70", memory__max="80")
    (machine.groups.parent / "memory.current").write_text("666")
    assert machine.reader.read(0.0, 8, slow=True) is Absence.UNSUPPORTED


def test_no_cgroup_file_system(machine) -> None:
    machine.member_of("0::/job")
    assert machine.reader.read(0.0, 8, slow=True) is Absence.UNSUPPORTED


def test_kernel_without_cgroups(machine) -> None:
    machine.write("", cgroup__controllers="cpu")
    assert machine.reader.read(0.0, 8, slow=True) is Absence.UNSUPPORTED


def test_process_that_never_was(machine) -> None:
    reader = CgroupReader(PID + 1, machine.proc, machine.groups)
    assert reader.read(0.0, 8, slow=True) is Absence.LOST


def test_kills_are_still_reported_after_the_process_has_gone(machine) -> None:
    machine.v2("/job")
    machine.write("job", memory__current="5", memory__events="oom_kill 0\n")
    machine.read(0.0)
    (machine.proc / str(PID) / "cgroup").unlink()
    (machine.proc / str(PID)).rmdir()
    machine.write("job", memory__events="oom_kill 1\n")
    assert machine.read(1.0, slow=False).oom_kills == 1
    assert machine.read(2.0, slow=True).oom_kills == 1


def test_group_that_was_removed_is_lost(machine) -> None:
    machine.v2("/job")
    machine.write("job", memory__current="5")
    machine.read(0.0)
    (machine.groups / "job/memory.current").unlink()
    (machine.groups / "job").rmdir()
    (machine.proc / str(PID) / "cgroup").unlink()
    assert machine.reader.read(1.0, 8, slow=False) is Absence.LOST


def test_move_to_another_group_is_followed(machine) -> None:
    machine.v2("/first")
    machine.write("first", memory__current="5", memory__max="10", cpu__stat=cpu_stat(1_000_000))
    machine.read(0.0)
    machine.v2("/second")
    machine.write("second", memory__current="6", memory__max="20", cpu__stat=cpu_stat(9_000_000))
    sample = machine.read(1.0)
    assert (sample.memory_used_bytes, sample.memory_limit_bytes) == (6, 20)
    assert sample.cpu_used_cores is None, "the counters of two groups make no rate"


GARBAGE = ["", "\n", "lots\n", "-\n", "1.5\n", "9" * 400, "\x00\x01", "²\n", "max max max\n"]


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_number(machine, text) -> None:
    machine.v2("/job")
    names = ("memory.current", "memory.max", "memory.peak", "memory.events", "cpu.max", "cpu.stat")
    more = ("cpuset.cpus.effective", "cpu.pressure", "memory.pressure", "io.pressure")
    machine.write("job")
    for name in (*names, *more):
        (machine.groups / "job" / name).write_bytes(text.encode())
    sample = machine.read()
    assert (sample.memory_used_bytes, sample.memory_peak_bytes, sample.cpu_used_s) == (None, None, None)
    assert sample.memory_limit_bytes is None
    assert sample.absent["memory_used_bytes"] is Absence.UNREACHABLE
    assert sample.absent["memory_limit_bytes"] is Absence.UNREACHABLE, "unread is not unlimited"
    assert sample.absent["oom_kills"] is Absence.UNSUPPORTED
    assert sample.absent["cpuset_cores"] is Absence.UNREACHABLE
    assert sample.absent["cpu_pressure_percent"] is Absence.UNREACHABLE


@pytest.mark.parametrize("text", ["100000 0", "100000", "100000 x", "nan 5"])
def test_quota_that_makes_no_sense(machine, text) -> None:
    machine.v2("/job")
    machine.write("job", cpu__max=text)
    sample = machine.read()
    assert sample.cpu_limit_cores is None
    assert sample.absent["cpu_limit_cores"] is Absence.UNREACHABLE


@pytest.mark.parametrize("text", ["some avg10=nan", "some", "full avg10=1.0", "some avg10=x"])
def test_pressure_that_makes_no_sense(machine, text) -> None:
    machine.v2("/job")
    machine.write("job", memory__pressure=text)
    assert machine.read().absent["memory_pressure_percent"] is Absence.UNREACHABLE


def test_missing_files_are_unsupported_not_zero(machine) -> None:
    machine.v2("/job")
    machine.write("job")
    sample = machine.read()
    named = ("memory_used_bytes", "memory_peak_bytes", "cpu_used_s", "oom_kills", "cpu_pressure_percent")
    assert {getattr(sample, name) for name in named} == {None}
    assert {sample.absent[name] for name in named} == {Absence.UNSUPPORTED}


@pytest.mark.parametrize(
    ("error", "wanted"), [(13, Absence.DENIED), (95, Absence.UNSUPPORTED), (5, Absence.UNREACHABLE)]
)
def test_refused_files_give_the_reason(machine, monkeypatch, error, wanted) -> None:
    machine.v2("/job")
    machine.write("job", memory__current="1", memory__max="2", cpu__pressure="some avg10=1")
    refused = ("memory.current", "memory.max", "cpu.pressure")
    opened = os.open

    def refusing(path, *arguments):
        if str(path).endswith(refused):
            raise OSError(error, os.strerror(error))
        return opened(path, *arguments)

    monkeypatch.setattr(proc.os, "open", refusing)
    sample = machine.read()
    assert sample.absent["memory_used_bytes"] is wanted
    assert sample.absent["cpu_pressure_percent"] is wanted
    if wanted is not Absence.UNSUPPORTED:
        assert sample.absent["memory_limit_bytes"] is wanted


def test_quick_readings_keep_the_last_rate(machine) -> None:
    machine.v2("/job")
    machine.write("job", cpu__stat=cpu_stat(0))
    machine.read(0.0)
    machine.write("job", cpu__stat=cpu_stat(1_000_000))
    assert machine.read(1.0).cpu_used_cores == pytest.approx(1.0)
    machine.write("job", cpu__stat=cpu_stat(1_010_000))
    assert machine.read(1.01).cpu_used_cores == pytest.approx(1.0)
    assert machine.read(1.02).cpu_used_cores == pytest.approx(1.0)


def test_this_machine_can_be_read() -> None:
    reader = CgroupReader(os.getpid(), Path("/proc"), Path("/sys/fs/cgroup"))
    sample = reader.read(0.0, os.cpu_count(), slow=True)
    if isinstance(sample, Absence):
        pytest.skip(f"no control group here: {sample}")
    assert all(getattr(sample, name) is None for name in sample.absent)
    assert sample.memory_used_bytes is None or sample.memory_used_bytes > 0
