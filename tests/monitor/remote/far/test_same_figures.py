"""The same files give the same figures, whether they are read here or sent by a server's shell."""

import dataclasses
from pathlib import Path

import psutil
import pytest

from pylon.monitor.collectors.cgroup.local import CgroupReader
from pylon.monitor.collectors.host import HostReader
from pylon.monitor.remote.far.cgroup import RemoteCgroup
from pylon.monitor.remote.far.host import RemoteHost
from pylon.monitor.status import Absence, CgroupSample, Side
from tests.monitor.remote.far.test_statuses import frame

PRESSURE = "some avg10={} avg60=0.10 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0"
V2 = {
    "memory.current": "1000",
    "memory.events": "low 0\nhigh 0\nmax 3\noom 2\noom_kill 1",
    "memory.max": "4000",
    "memory.peak": "2000",
    "memory.stat": "inactive_file 300",
    "cpu.max": "150000 100000",
    "cpuset.cpus.effective": "0-3,8",
    "cpu.pressure": PRESSURE.format("1.50"),
    "memory.pressure": PRESSURE.format("0.00"),
    "io.pressure": PRESSURE.format("99.99"),
}
CPU_STAT_V2 = "usage_usec {0}\nuser_usec 1\nnr_periods {1}\nnr_throttled {2}\nthrottled_usec {2}"
V1 = {
    "memory.usage_in_bytes": "1000",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4",
    "memory.limit_in_bytes": "4000",
    "memory.max_usage_in_bytes": "2000",
    "memory.stat": "total_inactive_file 300",
    "cpu.cfs_quota_us": "50000",
    "cpu.cfs_period_us": "100000",
    "cpuset.effective_cpus": "0,2-3",
}
CPU_STAT_V1 = "nr_periods {1}\nnr_throttled {2}\nthrottled_time {2}"


def contents(version: int, step: int) -> dict[str, str]:
    if version == 2:
        return V2 | {"cpu.stat": CPU_STAT_V2.format(1_500_000 * step, 100 * step, 30 * step)}
    stat = CPU_STAT_V1.format(0, 100 * step, 30 * step)
    return V1 | {"cpu.stat": stat, "cpuacct.usage": str(1_500_000_000 * step)}


def sent(version: int, files: dict[str, str]) -> tuple[str, ...]:
    lines = [f"{name} {line}" for name, content in files.items() for line in content.splitlines()]
    return (f"version {version}", *lines)


class Machine:
    """A process in the root group of a recorded tree."""

    def __init__(self, folder: Path, version: int) -> None:
        self.groups = folder / "cgroup"
        process = folder / "proc/7"
        process.mkdir(parents=True)
        if version == 2:
            process.joinpath("cgroup").write_text("0::/\n")
            self.groups.mkdir()
            self.groups.joinpath("cgroup.controllers").touch()
        else:
            controllers = ("memory", "cpu", "cpuacct", "cpuset")
            process.joinpath("cgroup").write_text("".join(f"{1}:{one}:/\n" for one in controllers))
            for one in controllers:
                (self.groups / one).mkdir(parents=True)
        self.version = version
        self.reader = CgroupReader(7, folder / "proc", self.groups)

    def read(self, now_s: float, files: dict[str, str]) -> CgroupSample | Absence:
        for name, content in files.items():
            place = self.groups if self.version == 2 else self.groups / name.partition(".")[0]
            (place / name).write_text(content + "\n")
        return self.reader.read(now_s, 4, slow=True)


@pytest.mark.parametrize("version", [1, 2])
def test_control_group(tmp_path: Path, version: int) -> None:
    machine, far = Machine(tmp_path, version), RemoteCgroup()
    for step in range(1, 4):
        files = contents(version, step)
        here = machine.read(float(step), files)
        there = far.read(float(step), sent(version, files), 4, slow=True)
        assert isinstance(here, CgroupSample)
        assert isinstance(there, CgroupSample)
        assert (here.side, there.side) == (Side.LOCAL, Side.REMOTE)
        assert dataclasses.replace(there, side=Side.LOCAL) == here
    assert (here.cpu_used_cores, here.throttled_percent) == (pytest.approx(1.5), pytest.approx(30.0))
    assert (here.memory_limit_bytes, here.memory_limit_used_bytes, here.memory_peak_bytes) == (
        *(4000, 1000),
        2000,
    )
    assert here.memory_working_set_bytes == 700


FAULTS = [
    *(
        (2, "memory.current", "x"),
        (2, "memory.max", ""),
        (2, "cpu.max", "1 0"),
        (2, "cpu.stat", "usage_usec"),
    ),
    *(
        (2, "cpuset.cpus.effective", "3-1"),
        (2, "cpuset.cpus.effective", "0-65535,0"),
        (2, "io.pressure", "none"),
        (2, "memory.events", ""),
        (2, "memory.stat", "inactive_file -"),
    ),
    *((1, "cpu.cfs_quota_us", "-2"), (1, "cpuacct.usage", "-1"), (1, "memory.limit_in_bytes", str(2**63))),
]


@pytest.mark.parametrize(("version", "name", "content"), FAULTS)
def test_control_group_whose_file_makes_no_sense(tmp_path, version, name, content) -> None:
    files = contents(version, 1) | {name: content}
    here = Machine(tmp_path, version).read(1.0, files)
    # An empty file has no line to send: the far shell sends its name with nothing after it.
    there = RemoteCgroup().read(1.0, (*sent(version, files), *([] if content else [name])), 4, slow=True)
    assert isinstance(there, CgroupSample)
    assert dataclasses.replace(there, side=Side.LOCAL) == here
    good = RemoteCgroup().read(1.0, sent(version, contents(version, 1)), 4, slow=True)
    assert isinstance(good, CgroupSample)
    names = {one.name for one in dataclasses.fields(good)} - {"absent"}
    changed = {name for name in names if getattr(good, name) != getattr(there, name)}
    assert changed, "the fault took effect"
    assert {getattr(there, name) for name in changed} == {None}
    assert there.memory_peak_bytes == 2000, "it costs no other file"


def test_limits_that_a_server_does_not_send_are_unknown_not_infinite() -> None:
    lines = ("version 2", "memory.current 1000", "cpu.stat usage_usec 5")
    sample = RemoteCgroup().read(1.0, lines, 4, slow=True)
    assert isinstance(sample, CgroupSample)
    for name in ("memory_limit_bytes", "memory_limit_used_bytes", "cpu_limit_cores"):
        assert sample.absent[name] is Absence.UNSUPPORTED


def test_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    reader, far = HostReader(), RemoteHost()
    for step in (1, 2, 3):
        # user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice
        lines = [f"cpu{core} {10 * step} 1 {5 * step} {70 * step} {5 * step} 2 1 1 4 0" for core in (0, 1)]
        (tmp_path / "stat").write_text("\n".join(["cpu  1 2 3 4 5 6 7 8 9 10", *lines, "intr 1"]) + "\n")
        here = reader.utilisation(float(step))
        sample = far.sample(frame(float(step), stat=tuple(lines)), 0.0, 0.0)
    assert not isinstance(here, Absence)
    assert (sample.cpu_percent, sample.core_percent) == (pytest.approx(here.total), pytest.approx(here.cores))
    assert here.total == pytest.approx(100.0 * 15 / 90)
