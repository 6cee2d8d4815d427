"""Observations of the monitors as readings."""

import time
from typing import Any

from pylon.monitor import (
    Absence,
    CgroupSample,
    CPUSample,
    CPUStatus,
    GPUSample,
    GPUStatus,
    Observation,
    WindowStats,
    XidEvent,
)
from pylon.recorder.history import SeriesKey
from pylon.recorder.process.samples import Sampler

NONE = WindowStats()


def seen(status: Any, measured_s: float, trouble: Absence | None = None) -> dict[str, dict[str, Any]]:
    return {"monitor": {"localhost": Observation(status, measured_s, 3.0, trouble)}}


def host(now: float, **changes: Any) -> CPUStatus:
    return CPUStatus(CPUSample(now, 0.0, **changes), NONE, NONE)


def readings(sampler: Sampler, observed: dict[str, dict[str, Any]], now: float) -> dict[str, Any]:
    found = {}
    for _, rows in sampler.readings(observed, now):
        for key, value, reason in rows:
            assert isinstance(key, SeriesKey)
            found[f"{key.device}{key.name}"] = reason if value is None else value
    return found


def test_each_sample_is_taken_once_with_unit_and_scope() -> None:
    sampler, now = Sampler(lambda one: one + 1000.0), time.monotonic()
    status = host(
        now, cpu_percent=40.0, core_percent=(10.0, None, 95.0), cgroup=CgroupSample(2, memory_used_bytes=7)
    )
    ((t, rows),) = sampler.readings(seen(status, now), now)
    assert t == now + 1000.0
    by_name = {key.name: (value, key.unit, key.scope) for key, value, _ in rows}
    assert by_name["cpu_utilization"] == (40.0, "percent", "host")
    assert by_name["core_max_utilization"] == (95.0, "percent", "host")
    assert by_name["cgroup_memory_used"] == (7.0, "bytes", "cgroup")
    assert list(sampler.readings(seen(status, now), now)) == []


def test_what_is_read_rarely_is_taken_when_it_is_new() -> None:
    sampler, now = Sampler(float), time.monotonic()
    first = host(now, memory_total_bytes=9, memory_used_bytes=1, slow_monotonic_s=now)
    again = host(now + 1, memory_total_bytes=9, memory_used_bytes=2, slow_monotonic_s=now)
    assert readings(sampler, seen(first, now), now) == {"memory_total": 9.0, "memory_used": 1.0}
    assert readings(sampler, seen(again, now + 1), now) == {"memory_used": 2.0}


def test_unknown_is_a_gap_with_its_reason_and_only_after_a_value() -> None:
    sampler, now = Sampler(float), time.monotonic()
    absent = {"cpu_percent": Absence.DENIED, "load_1m": Absence.UNSUPPORTED}
    assert readings(sampler, seen(host(now, absent=absent), now), now) == {}
    assert readings(sampler, seen(host(now, cpu_percent=1.0, absent={}), now + 1), now) == {
        "cpu_utilization": 1.0
    }
    assert readings(sampler, seen(host(now, absent=absent), now + 2), now) == {"cpu_utilization": "denied"}


def test_a_monitor_that_reports_nothing_is_a_gap_of_all_it_has_shown() -> None:
    sampler, now = Sampler(float), time.monotonic()
    status = host(now, cpu_percent=1.0, load_1m=2.0)
    readings(sampler, seen(status, now), now)
    old = seen(status, now - 10, Absence.HUNG)
    assert readings(sampler, old, now) == {"cpu_utilization": "hung", "load_1m": "hung"}
    assert readings(sampler, old, now) == {}


def test_gpus_are_told_apart_and_a_lost_one_is_remembered() -> None:
    sampler, now = Sampler(float), time.monotonic()
    good = (GPUSample("A", power_w=100.0), GPUSample("B", power_w=200.0))
    assert readings(sampler, seen(GPUStatus(now, 0.0, good), now), now) == {
        "Agpu_power": 100.0,
        "Bgpu_power": 200.0,
    }
    lost = (good[0], GPUSample("B", absent={"power_w": Absence.LOST}))
    found = readings(sampler, seen(GPUStatus(now, 0.0, lost), now + 1), now + 1)
    assert found == {"Agpu_power": 100.0, "Bgpu_power": "lost"}
    assert sampler.lost_gpus == {"B": now + 1}


def test_each_xid_error_is_taken_once() -> None:
    sampler, now = Sampler(float), time.monotonic()
    first, second = XidEvent(now, 1.0, "A", 79), XidEvent(now + 1, 2.0, None, 48)
    for number, events in enumerate([(first,), (first,), (first, second)]):
        readings(sampler, seen(GPUStatus(now, 0.0, (), xid_events=events), now + number), now + number)
    assert sampler.xids == [first, second]
