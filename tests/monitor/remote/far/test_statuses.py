"""Frames made by hand, as statuses: rates of the far clock, reasons for absence, and restarts."""

import gc
import math
import time
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.remote.far import Frame, RemoteStatuses
from pylon.monitor.status import Absence, CPUSample, GPUSample, origins

GPU = "GPU-aaaabbbb-1111-2222-3333-444455556666"
OTHER = "GPU-ccccdddd-1111-2222-3333-444455556666"
FIELDS = "fields index,uuid,utilization.gpu,memory.used,mig.mode.current"
DEVICES = ("disk sda 1", "disk dm-0 0", "net eth0 1", "net docker0 0", "net lo 0")


def stat(busy: int, idle: int) -> tuple[str, ...]:
    return ("cpu 1 2 3 4 5 6 7 8 9 10", f"cpu0 {busy} 0 0 {idle} 0 0 0 0 0 0", f"cpu1 0 0 {busy} {idle}")


def net(received: int, sent: int) -> tuple[str, ...]:
    zeros = "0 0 0 0 0 0 0"
    return (f"  eth0: {received} {zeros} {sent} {zeros}", f"docker0:999999 {zeros} 9 {zeros}")


def disk(read: int, written: int) -> tuple[str, ...]:
    return (f"sda 1 0 {read} 5 1 0 {written} 5 0 5 5", f"dm-0 1 0 {read} 5 1 0 {written} 5 0 5 5")


def frame(uptime_s: float | None = 100.0, wall_time_s: float | None = None, **sections) -> Frame:
    base = {
        "stat": stat(100, 100),
        "meminfo": ("MemTotal: 1000 kB", "MemAvailable: 400 kB", "SwapTotal: 10 kB", "SwapFree: 4 kB"),
        "loadavg": ("0.50 0.25 0.10 2/300 4242",),
        "net": net(0, 0),
        "disk": disk(0, 0),
        "gpu": ("state off - 0 -",),
    }
    told = {name: lines for name, lines in (base | sections).items() if lines is not None}
    return Frame(1, uptime_s, wall_time_s, told)


def gpu_frame(uptime_s: float, *lines: str, state: str = "running 90.0 1000 90.0", **sections) -> Frame:
    return frame(uptime_s, gpu=(f"state {state}", *lines), **sections)


def line(uptime_s: float, uuid: str = GPU, index: int = 0, utilization: object = 50) -> str:
    return f"gpu {uptime_s} {index}, {uuid}, {utilization}, 100, Disabled"


def test_first_frame_has_no_rates() -> None:
    sample = RemoteStatuses(3).build(frame(devices=DEVICES), 5.0).cpu.sample
    for name in ("cpu_percent", "core_percent", "disk_read_bytes_per_s", "net_sent_bytes_per_s"):
        assert getattr(sample, name) is None
        assert sample.absent[name] is Absence.STARTING
    assert sample.monotonic_s == 5.0
    assert (sample.memory_used_bytes, sample.memory_available_bytes) == (600 * 1024, 400 * 1024)
    assert (sample.swap_used_bytes, sample.swap_total_bytes) == (6 * 1024, 10 * 1024)
    assert (sample.load_1m, sample.load_5m, sample.load_15m) == (0.5, 0.25, 0.1)


def test_rates_are_of_the_far_clock() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(frame(100.0, devices=DEVICES), 5.0)
    # Under way for a minute, and two seconds later there.
    later = frame(102.0, stat=stat(150, 150), net=net(2000, 500), disk=disk(8, 4))
    status = statuses.build(later, 65.0)
    sample = status.cpu.sample
    assert sample.cpu_percent == 50.0
    assert sample.core_percent == (50.0, 50.0)
    assert (sample.net_received_bytes_per_s, sample.net_sent_bytes_per_s) == (1000.0, 250.0)
    assert (sample.disk_read_bytes_per_s, sample.disk_write_bytes_per_s) == (2048.0, 1024.0)
    assert status.cpu.cpu_percent.newest == 50.0
    assert status.cpu.memory_used_bytes.count == 2
    assert sample.slow_monotonic_s == 5.0


def test_without_real_devices_others_stand_in() -> None:
    statuses = RemoteStatuses(3)
    virtual = ("disk zram0 0", "disk vdb 0", "net veth1 0", "net lo 0")
    zeros = "0 0 0 0 0 0 0"
    cards = tuple(f"{name}: {{}} {zeros} 0 {zeros}" for name in ("lo", "veth1"))
    for uptime_s, moved in ((100.0, 0), (101.0, 70)):
        sample = statuses.build(
            frame(uptime_s, devices=virtual, net=tuple(one.format(moved) for one in cards)), 0.0
        ).cpu.sample
    assert sample.net_received_bytes_per_s == 70.0
    assert sample.absent["disk_read_bytes_per_s"] is Absence.UNSUPPORTED


def test_paths_to_a_disk_are_not_counted_again() -> None:
    statuses = RemoteStatuses(3)
    devices = ("disk nvme0n1 1", "disk nvme0c0n1 1")
    for uptime_s, sectors in ((100.0, 10), (101.0, 18)):
        counts = f"1 0 {sectors} 5 1 0 {sectors} 5 0 5 5"
        disks = (f"nvme0n1 {counts}", f"nvme0c0n1 {counts}")
        sample = statuses.build(frame(uptime_s, devices=devices, disk=disks), uptime_s).cpu.sample
    assert sample.disk_read_bytes_per_s == 8 * 512


def test_a_clock_that_stands_still_gives_no_rates_and_is_a_reason() -> None:
    statuses = RemoteStatuses(3)
    for received_s in (0.0, 1.0, 2.0):
        status = statuses.build(gpu_frame(0.0, FIELDS, line(0.0), devices=DEVICES), received_s)
    assert status.far_uptime_s is None
    for name in ("cpu_percent", "net_sent_bytes_per_s", "disk_read_bytes_per_s"):
        assert status.cpu.sample.absent[name] is Absence.UNSUPPORTED
    assert status.gpu.absence is Absence.UNSUPPORTED
    status = statuses.build(frame(5.0), 3.0)
    assert status.far_uptime_s == 5.0


def test_a_counter_that_went_back_starts_again() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(frame(100.0, devices=DEVICES, net=net(1000, 1000)), 0.0)
    sample = statuses.build(frame(101.0, net=net(10, 2000), stat=stat(50, 110)), 1.0).cpu.sample
    assert sample.absent["net_received_bytes_per_s"] is Absence.STARTING
    assert sample.net_sent_bytes_per_s == 1000.0
    assert sample.absent["cpu_percent"] is Absence.STARTING
    sample = statuses.build(frame(102.0, net=net(20, 2000)), 2.0).cpu.sample
    assert sample.net_received_bytes_per_s == 10.0


@pytest.mark.parametrize(
    "restarted",
    [
        frame(3.0, stat=stat(500, 500), net=net(5000, 5000), devices=DEVICES),
        frame(103.0, stat=stat(500, 500), net=net(5000, 5000), system=("boot other",), devices=DEVICES),
    ],
)
def test_a_restart_compares_nothing_with_before(restarted) -> None:
    statuses = RemoteStatuses(3)
    statuses.build(frame(100.0, devices=DEVICES, system=("hostname a", "kernel Linux 6", "boot one")), 0.0)
    status = statuses.build(restarted, 1.0)
    for name in ("cpu_percent", "net_sent_bytes_per_s"):
        assert status.cpu.sample.absent[name] is Absence.STARTING
    assert status.hostname == "a"


def test_cores_that_came_or_went_are_not_compared() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(frame(100.0), 0.0)
    other = (*stat(200, 200)[:2], "cpu7 0 0 200 200")
    sample = statuses.build(frame(101.0, stat=other), 1.0).cpu.sample
    assert sample.absent["core_percent"] is Absence.STARTING


def test_a_section_that_makes_no_sense_costs_its_own_fields() -> None:
    sample = RemoteStatuses(3).build(frame(meminfo=("MemTotal: x kB",), loadavg=("a b c",)), 0.0).cpu.sample
    assert sample.absent["memory_used_bytes"] is Absence.UNREACHABLE
    assert sample.absent["load_1m"] is Absence.UNREACHABLE
    assert sample.absent["cpu_percent"] is Absence.STARTING
    old = frame(meminfo=("MemTotal: 5 kB", "SwapTotal: 1 kB", "SwapFree: 1 kB"))
    sample = RemoteStatuses(3).build(old, 0.0).cpu.sample
    for name in ("memory_used_bytes", "memory_available_bytes"):
        assert (getattr(sample, name), sample.absent[name]) == (None, Absence.UNSUPPORTED)
    assert (sample.memory_total_bytes, sample.swap_used_bytes) == (5 * 1024, 0)


def test_the_clock_offset_is_taken_in_the_middle_of_the_round_trip() -> None:
    statuses = RemoteStatuses(3)
    told = frame(wall_time_s=1010.0)
    status = statuses.build(told, 50.4, received_wall_s=1000.2, sent_monotonic_s=50.0)
    assert status.round_trip_s == pytest.approx(0.4)
    assert status.clock_offset_s == pytest.approx(10.0)
    assert status.far_uptime_s == 100.0
    assert RemoteStatuses(3).build(frame(), 50.0).clock_offset_s is None


def test_a_container_has_its_control_group() -> None:
    statuses = RemoteStatuses(3)
    fast = (
        *("version 2", "memory.current 1000", "cpu.stat usage_usec {}", "cpu.stat nr_periods {}"),
        *("cpu.stat nr_throttled {}", "cpu.stat throttled_usec 2000000", "memory.events oom_kill 3"),
    )
    slow = (
        *("memory.max 4000", "memory.peak 2000", "cpu.max 150000 100000", "cpuset.cpus.effective 0-3,8"),
        "cpu.pressure some avg10=1.50 avg60=0.10 avg300=0.00 total=1",
    )
    filled = [one.format(1_000_000 if "usage" in one else 10) for one in fast]
    first = statuses.build(frame(100.0, devices=DEVICES, cgroup=(*filled, *slow)), 0.0).cpu.sample.cgroup
    assert first.version == 2
    assert (first.memory_used_bytes, first.memory_limit_bytes, first.memory_limit_used_bytes) == (
        1000,
        4000,
        1000,
    )
    assert (first.cpu_limit_cores, first.cpuset_cores, first.oom_kills) == (1.5, 5, 3)
    assert first.cpu_pressure_percent == 1.5
    assert first.absent["io_pressure_percent"] is Absence.UNSUPPORTED
    assert first.absent["cpu_percent"] is Absence.STARTING
    filled = [one.format(2_500_000 if "usage" in one else 15 if "throttled {" in one else 20) for one in fast]
    second = statuses.build(frame(101.0, cgroup=tuple(filled)), 1.0).cpu.sample.cgroup
    assert second.cpu_used_cores == pytest.approx(1.5)
    # Of the least of quota, set and the two cores of the host.
    assert second.cpu_percent == pytest.approx(100.0)
    assert second.throttled_percent == pytest.approx(50.0)
    assert second.memory_limit_bytes == 4000


def test_a_whole_machine_has_none() -> None:
    sample = RemoteStatuses(3).build(frame(cgroup=()), 0.0).cpu.sample
    assert sample.cgroup is None
    assert sample.absent["cgroup"] is Absence.UNSUPPORTED


def test_the_busiest_processes_stay_until_there_is_a_newer_list() -> None:
    statuses = RemoteStatuses(3)
    rows = [
        f"{pid}\t0\troot\t{pid}\t{ticks}\tname{pid}" for pid, ticks in ((1, "-"), (2, 50), (3, 0), (4, 100))
    ]
    statuses.build(frame(100.0, top=("at 98.00 88.00 4096", *rows)), 50.0)
    sample = statuses.build(frame(101.0), 51.0).cpu.sample
    assert [(one.pid, one.cpu_percent) for one in sample.top_processes] == [
        *((4, 10.0), (2, 5.0)),
        *((3, 0.0), (1, None)),
    ]
    assert sample.top_processes[0].rss_bytes == 4 * 4096
    assert sample.top_monotonic_s == 48.0


@pytest.mark.parametrize(("word", "hidden"), [("", False), (" hides", True)])
def test_hidden_processes_of_others_are_reported_with_those_that_are_seen(word: str, hidden: bool) -> None:
    top = (f"at 98.00 88.00 4096{word}", "4\t0\troot\t4\t100\tname")
    sample = RemoteStatuses(3).build(frame(100.0, top=top), 50.0).cpu.sample
    assert len(sample.top_processes) == 1
    assert sample.others_hidden is hidden


def test_a_gpu_that_goes_stays_in_view_as_lost() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9), line(99.9, OTHER, 1)), 0.0)
    gpu = statuses.build(gpu_frame(110.0, line(99.9), line(109.9, OTHER, 1)), 1.0).gpu
    assert gpu.absence is None
    assert [one.uuid for one in gpu.gpus] == [OTHER, GPU]
    assert gpu.gpus[1].absent["utilization_percent"] is Absence.LOST
    assert gpu.gpus[1].index is None
    assert gpu.utilization_percent[GPU].newest is None


def test_no_answer_for_long_is_a_stall_with_its_time() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    assert statuses.build(gpu_frame(104.0, line(99.9)), 1.0).gpu.absence is None
    gpu = statuses.build(gpu_frame(123.0, line(99.9)), 2.0).gpu
    assert gpu.absence is Absence.HUNG
    assert gpu.error == "nvidia-smi: stalled since 23 s ago (uptime 100 s there)"
    assert gpu.gpus[0].absent["memory_used_bytes"] is Absence.HUNG
    assert statuses.build(gpu_frame(124.0, line(123.9)), 3.0).gpu.absence is None


def test_a_gpu_with_another_number_is_the_same() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    gpu = statuses.build(gpu_frame(101.0, line(99.9), line(100.9, GPU, 1)), 1.0).gpu
    assert [(one.uuid, one.index) for one in gpu.gpus] == [(GPU, 1)]


def test_one_answer_in_two_frames_counts_once() -> None:
    statuses = RemoteStatuses(9)
    for received_s in range(4):
        gpu = statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), received_s).gpu
    assert gpu.utilization_percent[GPU].count == 1
    assert gpu.monotonic_s == 3


def test_lines_of_another_start_are_not_read_with_these_fields() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    other = gpu_frame(101.0, line(100.9), state="running 100.5 1000 100.5")
    gpu = statuses.build(other, 1.0).gpu
    assert gpu.gpus[0].utilization_percent is None
    assert gpu.absence is Absence.UNREACHABLE


def test_no_driver_after_there_was_one_is_a_loss() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    gpu = statuses.build(gpu_frame(200.0, state="missing 150.0 1000 90.0"), 1.0).gpu
    assert gpu.absence is Absence.LOST
    assert [one.uuid for one in gpu.gpus] == [GPU]


def test_processes_that_are_reported_rarely_stay_until_they_are_old() -> None:
    statuses = RemoteStatuses(3)
    apps = ("at 99.0 0", f"0\troot\tpython\t{GPU}, 7, 30, python")
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9), apps=apps), 0.0)
    sample = statuses.build(gpu_frame(110.0, line(109.9)), 1.0).gpu.gpus[0]
    assert [one.pid for one in sample.processes] == [7]
    assert sample.others_memory_used_bytes == 30 * 2**20
    sample = statuses.build(gpu_frame(300.0, line(299.9)), 2.0).gpu.gpus[0]
    assert sample.absent["processes"] is Absence.HUNG


def test_names_that_change_in_each_frame_are_not_kept() -> None:
    statuses = RemoteStatuses(3)
    kept: list[int] = []
    for number in range(20):
        first, uptime_s = number * 100, 100.0 + number
        lines = [line(uptime_s, f"GPU-{first + one:08}", one) for one in range(100)]
        names = [f"name{number}-{one} value{number}-{one}" for one in range(100)]
        system = ("hostname far", "kernel " + "k" * 9999, *names)
        status = statuses.build(gpu_frame(uptime_s, FIELDS, *lines, system=system), number)
        assert len(status.gpu.gpus) <= 64
        kept.append(objects_below(statuses))
    assert kept[-1] - kept[9] < 100, f"objects after each frame: {kept}"
    assert (status.hostname, len(status.kernel)) == ("far", 255)


def test_a_gpu_that_is_gone_stays_while_there_is_room() -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9), line(99.9, OTHER, 1)), 0.0)
    full = [line(109.9, f"GPU-{one:08}", one) for one in range(63)]
    gpu = statuses.build(gpu_frame(110.0, FIELDS, *full), 1.0).gpu
    assert len(gpu.gpus) == 64
    assert (gpu.gpus[-1].uuid, gpu.gpus[-1].absent["power_w"]) == (OTHER, Absence.LOST)


def test_a_control_group_of_many_lines_takes_no_long_time() -> None:
    lines = ("version 2", "memory.current 1000", *("cpu.stat usage_usec 1" for _ in range(80_000)))
    begun_s = time.process_time()
    sample = RemoteStatuses(3).build(frame(cgroup=lines), 0.0).cpu.sample
    assert time.process_time() - begun_s < 0.5
    assert sample.cgroup.memory_used_bytes == 1000


def objects_below(holder: object) -> int:
    """How many objects it keeps, itself and all that it refers to."""
    seen: dict[int, object] = {}
    left = [holder]
    while left:
        one = left.pop()
        if id(one) not in seen and not isinstance(one, type | types.ModuleType):
            seen[id(one)] = one
            left += gc.get_referents(one)
    return len(seen)


def test_every_field_has_a_value_or_a_reason() -> None:
    statuses = RemoteStatuses(3)
    status = statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    for sample, kind in ((status.cpu.sample, CPUSample), (status.gpu.gpus[0], GPUSample)):
        silent = [
            name for name in origins(kind) if getattr(sample, name) is None and name not in sample.absent
        ]
        assert silent == []


WORDS = st.one_of(
    st.integers(-5, 10**21).map(str),
    st.sampled_from(["-", "cpu0", "kB", "at", "state", "gpu", "some", "0.5", "nan"]),
)
LINES = st.lists(st.one_of(st.text(max_size=40), st.lists(WORDS, max_size=12).map(" ".join)), max_size=4)
NAMES = ("stat", "meminfo", "loadavg", "net", "disk", "devices", "system", "cgroup", "gpu", "apps", "top")


@pytest.mark.slow
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.floats(0, 1e9)),
            st.dictionaries(st.sampled_from(NAMES), LINES.map(tuple)),
        ),
        max_size=4,
    )
)
def test_any_frames_give_statuses_that_can_be_shown(frames) -> None:
    statuses = RemoteStatuses(3)
    statuses.build(gpu_frame(100.0, FIELDS, line(99.9)), 0.0)
    for uptime_s, told in frames:
        sample = statuses.build(Frame(1, uptime_s, None, told), 1.0).cpu.sample
        for name in origins(CPUSample):
            value = getattr(sample, name)
            if isinstance(value, float):
                assert math.isfinite(value)
                assert value >= 0


@given(st.sampled_from(NAMES), st.integers(0, 60), st.integers(0, 200), st.characters())
def test_one_changed_character_costs_one_section_at_most(name, number, place, character) -> None:
    good = gpu_frame(
        *(100.0, FIELDS, line(99.9)),
        devices=DEVICES,
        apps=("at 99.0 0", f"0\troot\tpython\t{GPU}, 7, 30, python"),
    )
    lines = list(good.sections.get(name, ("",)))
    text = lines[number % len(lines)]
    lines[number % len(lines)] = (
        text[: place % (len(text) + 1)] + character + text[place % (len(text) + 1) + 1 :]
    )
    changed = Frame(1, 100.0, None, good.sections | {name: tuple(lines)})
    status = RemoteStatuses(3).build(changed, 0.0)
    assert name == "meminfo" or status.cpu.sample.memory_used_bytes == 600 * 1024
    assert name in ("gpu", "apps") or status.gpu.gpus[0].utilization_percent == 50.0
