"""What loggers get that take nothing but numbers."""

from dataclasses import replace

from pylon.monitor import CgroupSample, SystemMonitor, SystemSnapshot
from tests.monitor.statuses import GIB, cpu, gpu, gpus, seen


def test_first_reading_has_no_rate_and_no_entry_for_it() -> None:
    snapshot = SystemSnapshot(1, {"localhost": seen(cpu(percent=None))})
    numbers = snapshot.numbers()
    assert "cpu_percent" not in numbers
    assert numbers["memory_used_bytes"] == 8 * GIB
    assert None not in numbers.values()
    assert snapshot.line() == "cpu ?, memory 8.0/64.0 GiB, run ? GiB"


def test_before_the_first_reading_nothing_is_known() -> None:
    snapshot = SystemMonitor().latest()
    assert snapshot.numbers() == {}
    assert snapshot.line() == "cpu ?, memory ?/? GiB, run ? GiB"


def test_gpu_that_is_unknown_keeps_the_numbers_of_the_others() -> None:
    samples = (gpu(0, utilization_percent=None), gpu(1, 40.0, utilization_percent=float("nan")), gpu(2))
    snapshot = SystemSnapshot(1, {"localhost": seen(cpu())}, {"localhost": seen(gpus(*samples))})
    numbers = snapshot.numbers()
    assert [name for name in numbers if name.startswith("gpu_util")] == ["gpu_util_percent.2"]
    assert numbers["gpu_memory_used_bytes.1"] == 40 * GIB
    assert snapshot.line().endswith("gpu 0 ? 0.5/80.0 GiB, gpu 1 ? 40.0/80.0 GiB, gpu 2 0 % 0.5/80.0 GiB")


def test_other_monitors_numbers_have_their_class_and_server() -> None:
    others = {"Scratch": {"localhost": seen({"free": 5, "name": "x", "ok": True, "none": None})}}
    assert SystemSnapshot(1, others=others).numbers() == {"Scratch.localhost.free": 5}


def test_stale_figures_are_not_given() -> None:
    old = {"localhost": seen(cpu(), age_s=100)}
    numbers = SystemSnapshot(
        1, old, others={"Scratch": {"localhost": seen({"free": 5}, age_s=100)}}
    ).numbers()
    assert numbers.keys() == {"age_s"}


def test_log_record_has_the_control_groups_limit_and_oom_kills() -> None:
    status = cpu()
    group = CgroupSample(2, memory_used_bytes=3, memory_limit_bytes=7, oom_kills=1)
    limited = replace(status, sample=replace(status.sample, cgroup=group))
    record = SystemSnapshot(1, {"localhost": seen(limited)}).as_record()
    figures = ("cgroup_memory_used_bytes", "cgroup_memory_limit_bytes", "cgroup_oom_kills")
    assert [record[name] for name in figures] == [3, 7, 1]
    unknown = SystemSnapshot(1, {"localhost": seen(status)}).as_record()
    assert [unknown[name] for name in figures] == [None, None, None]
