"""The kernel's counts of kills for memory, at the right level, in both versions of control groups."""

from pathlib import Path

import pytest

from pylon.recorder.endings import MemoryCounter, judge, killed_in_log
from pylon.recorder.endings.seen import Seen
from pylon.recorder.endings.status import ExitStatus


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    proc = tmp_path / "proc"
    write(proc / "7", cgroup="0::/job/step\n")
    write(
        proc, meminfo="MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 600 kB\n", vmstat="nr 1\noom_kill 4\n"
    )
    root = tmp_path / "cgroup"
    write(root, cgroup__controllers="memory")
    write(root / "job", memory__max="5000", memory__current="4900", memory__events="oom_kill 9\noom 1\n")
    write(
        root / "job" / "step",
        memory__max="max",
        memory__current="900",
        memory__events="oom 0\noom_kill 3\noom_group_kill 0\n",
        memory__pressure="some avg10=1.50 avg60=0 avg300=0 total=1\n",
    )
    (root / "job" / "step" / "memory.events.local").write_text("oom 0\noom_kill 1\noom_group_kill 0\n")
    (root / "job" / "memory.events.local").write_text("oom 1\noom_kill 0\noom_group_kill 0\n")
    return tmp_path


def counter(machine: Path) -> MemoryCounter:
    made = MemoryCounter(7, str(machine / "proc"), str(machine / "cgroup"))
    made.find()
    return made


def test_version_2_counts_by_level_and_not_the_groups_below(machine: Path) -> None:
    counts = counter(machine).read()
    assert [level.kills for level in counts.levels] == [1, 0, None]
    assert [level.limit_bytes for level in counts.levels] == [None, 5000, None]
    assert (counts.host_kills, counts.used_bytes, counts.limit_bytes) == (4, 4900, 5000)
    assert counts.nearness == pytest.approx(0.98)
    assert counter(machine).pressure() == 1.5


def test_a_kill_in_a_group_below_is_not_the_runs(machine: Path) -> None:
    made = counter(machine)
    before = made.read()
    (machine / "cgroup" / "job" / "step" / "memory.events").write_text("oom_kill 4\n")
    after = made.read()
    seen = Seen(ExitStatus(None, 9), begun=before, before=before, after=after, pid=7)
    assert judge(seen).cause == "sigkill"
    (machine / "cgroup" / "job" / "step" / "memory.events.local").write_text("oom 0\noom_kill 2\n")
    killed = Seen(ExitStatus(None, 9), begun=before, before=before, after=made.read(), pid=7)
    assert judge(killed).cause == "cgroup_oom"


def test_the_whole_group_that_was_killed_is_seen(machine: Path) -> None:
    made = counter(machine)
    before = made.read()
    (machine / "cgroup" / "job" / "step" / "memory.events.local").write_text("oom_kill 1\noom_group_kill 1\n")
    found = judge(Seen(ExitStatus(None, 9), begun=before, before=before, after=made.read(), pid=7))
    assert found.cause == "cgroup_oom"
    assert any("oom_group_kill" in one.text for one in found.evidence)


def test_version_1(machine: Path) -> None:
    write(machine / "proc" / "7", cgroup="4:memory:/job\n0::/\n")
    write(
        machine / "cgroup" / "memory" / "job",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
        memory__limit_in_bytes="6000",
        memory__usage_in_bytes="3000",
    )
    write(machine / "cgroup" / "memory", memory__limit_in_bytes="9223372036854771712")
    counts = counter(machine).read()
    assert counts.own is not None
    assert (counts.own.kills, counts.own.limit_bytes, counts.used_bytes) == (2, 6000, 3000)


def test_what_is_gone_or_odd_is_unknown_and_never_0(machine: Path) -> None:
    made = counter(machine)
    for path in (machine / "cgroup" / "job" / "step").iterdir():
        path.unlink()
    (machine / "proc" / "vmstat").write_text("oom_kill many\n")
    (machine / "proc" / "meminfo").unlink()
    counts = made.read()
    assert counts.own is not None
    assert (counts.own.kills, counts.host_kills, counts.available_bytes) == (None, None, None)


def test_the_log_names_the_processes(tmp_path: Path) -> None:
    if str(Path("/proc/self/ns/pid").readlink()) != "pid:[4026531836]":
        pytest.skip("pids of the kernel's log are those of another namespace")
    log = tmp_path / "kmsg"
    log.write_bytes(
        b"3,9,2000000,-;Memory cgroup out of memory: Killed process 12 (py\x1bthon) total-vm:1kB\n SUB=x\n"
    )
    assert killed_in_log(1.0, str(log)) == [
        (12, "Memory cgroup out of memory: Killed process 12 (py thon) total-vm:1kB")
    ]
    assert killed_in_log(3.0, str(log)) == []
    assert killed_in_log(1.0, str(tmp_path / "none")) is None
