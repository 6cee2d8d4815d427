"""What a user sees of one server: nothing old looks current, nothing unknown looks like a number."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor import Absence, Observation, Origin, Scope
from pylon.monitor.status import CgroupSample, CPUSample, CPUStatus, GPUSample, GPUStatus, WindowStats
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import ServerReport
from pylon.monitor.status.observation import observations

STALE_AFTER_S = 3.0
NOW_S = 1000.0


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ages are told against a clock that stands still."""
    monkeypatch.setattr("pylon.monitor.status.values.time", Clock)


class Clock:
    @staticmethod
    def monotonic() -> float:
        return NOW_S


def seen(status: Any, age_s: float = 0.0, trouble: Absence | None = None) -> Observation[Any]:
    return Observation(status, NOW_S - age_s, STALE_AFTER_S, trouble)


def cpu_status(**sample: Any) -> CPUStatus:
    return CPUStatus(CPUSample(NOW_S, 0.0, **sample), WindowStats(), WindowStats())


def gpu_status(*gpus: GPUSample, **more: Any) -> GPUStatus:
    return GPUStatus(NOW_S, 0.0, gpus, **more)


def test_before_the_first_reading_it_is_starting() -> None:
    nothing: Observation[Any] = Observation(None, None, STALE_AFTER_S)
    assert (nothing.age_s, nothing.absence, nothing.current) == (None, Absence.STARTING, None)


@pytest.mark.parametrize("trouble", list(Absence))
def test_before_the_first_reading_trouble_is_reported(trouble: Absence) -> None:
    assert Observation(None, None, STALE_AFTER_S, trouble).absence is trouble


def test_recent_status_is_current() -> None:
    fresh = seen("status", 1.5)
    assert (fresh.age_s, fresh.absence, fresh.current) == (1.5, None, "status")


def test_status_of_exactly_the_limit_is_still_current() -> None:
    assert seen("status", STALE_AFTER_S).current == "status"


def test_old_status_stays_but_is_stale() -> None:
    old = seen("status", STALE_AFTER_S + 0.001)
    assert (old.status, old.current, old.absence) == ("status", None, Absence.STALE)


def test_trouble_gives_the_reason_an_old_status_is_old() -> None:
    assert seen("status", 4, Absence.HUNG).absence is Absence.HUNG


def test_failed_readings_do_not_hide_a_status_that_is_recent() -> None:
    assert seen("status", 1, Absence.UNREACHABLE).current == "status"


def test_measured_in_another_process_a_moment_later_it_is_not_younger_than_now() -> None:
    assert seen("status", -0.25).age_s == 0.0


def test_age_is_reported_by_the_clock_that_readings_are_timed_by(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pylon.monitor.status.values.time", time)
    age_s = Observation("status", time.monotonic() - 7, STALE_AFTER_S).age_s
    assert age_s is not None
    assert 7 <= age_s < 17


@given(
    age_s=st.floats(0, 1e6),
    limit_s=st.floats(1e-3, 1e5),
    trouble=st.none() | st.sampled_from(Absence),
    status=st.sampled_from(["status", 0, 0.0, ()]),
)
def test_nothing_older_than_its_limit_is_ever_current(
    age_s: float, limit_s: float, trouble: Absence | None, status: Any
) -> None:
    one = Observation(status, NOW_S - age_s, limit_s, trouble)
    age_told_s = one.age_s
    assert age_told_s is not None
    assert (one.absence is None) == (age_told_s <= limit_s)
    assert one.current is (status if one.absence is None else None)
    assert one.status is status


def test_reading_has_value_age_origin_and_no_absence() -> None:
    reading = seen(cpu_status(cpu_percent=12.5), 0.5).reading("sample.cpu_percent")
    assert (reading.value, reading.age_s, reading.absence) == (12.5, 0.5, None)
    assert reading.origin == Origin(Scope.HOST, "/proc/stat")


def test_reading_keeps_the_scopes_of_host_and_cgroup_apart() -> None:
    status = cpu_status(memory_used_bytes=8, cgroup=CgroupSample(2, memory_used_bytes=4))
    told = [seen(status).reading(f"sample.{path}memory_used_bytes") for path in ("", "cgroup.")]
    assert [(one.value, one.origin and one.origin.scope) for one in told] == [
        (8, Scope.HOST),
        (4, Scope.CGROUP),
    ]


def test_zero_that_was_read_is_a_value() -> None:
    reading = seen(cpu_status(cpu_percent=0.0)).reading("sample.cpu_percent")
    assert (reading.value, reading.absence) == (0.0, None)


@pytest.mark.parametrize("reason", list(Absence))
def test_unknown_is_never_zero_and_has_its_reason(reason: Absence) -> None:
    reading = seen(cpu_status(absent={"load_1m": reason})).reading("sample.load_1m")
    assert (reading.value, reading.absence) == (None, reason)
    assert reading.origin == Origin(Scope.HOST, "/proc/loadavg")


def test_missing_part_on_the_way_is_reported_with_its_reason() -> None:
    reading = seen(cpu_status(absent={"cgroup": Absence.DENIED})).reading("sample.cgroup.memory_used_bytes")
    assert (reading.value, reading.absence) == (None, Absence.DENIED)


def test_missing_part_without_a_reason_is_unsupported() -> None:
    assert seen(cpu_status()).reading("sample.run.cpu_percent").absence is Absence.UNSUPPORTED


def test_none_that_is_itself_the_answer_is_not_called_unsupported() -> None:
    """CgroupSample: 'None without a reason: no limit is set'."""
    reading = seen(cpu_status(cgroup=CgroupSample(2))).reading("sample.cgroup.memory_limit_bytes")
    assert (reading.value, reading.absence) == (None, None)


@pytest.mark.parametrize(
    ("age_s", "trouble", "absence"),
    [(4.0, None, Absence.STALE), (4.0, Absence.HUNG, Absence.HUNG), (4.0, Absence.LOST, Absence.LOST)],
)
def test_reading_of_an_old_status_has_no_value(
    age_s: float, trouble: Absence | None, absence: Absence
) -> None:
    reading = seen(cpu_status(cpu_percent=50.0), age_s, trouble).reading("sample.cpu_percent")
    assert (reading.value, reading.age_s, reading.absence) == (None, age_s, absence)


def test_reading_before_the_first_has_no_age() -> None:
    nothing: Observation[Any] = Observation(None, None, STALE_AFTER_S)
    reading = nothing.reading("sample.cpu_percent")
    assert (reading.value, reading.age_s, reading.absence) == (None, None, Absence.STARTING)


def test_reading_finds_a_gpu_by_its_number() -> None:
    status = gpu_status(GPUSample("GPU-a"), GPUSample("GPU-b", power_w=250.0))
    reading = seen(status).reading("gpus.1.power_w")
    assert (reading.value, reading.absence) == (250.0, None)
    assert reading.origin == Origin(Scope.DEVICE, "nvmlDeviceGetPowerUsage")


def test_reading_of_a_lost_gpu_is_reported() -> None:
    status = gpu_status(GPUSample("GPU-a", absent={"power_w": Absence.LOST}))
    assert seen(status).reading("gpus.0.power_w").absence is Absence.LOST


def test_reading_of_a_gpu_that_is_not_there_has_no_value() -> None:
    reading = seen(gpu_status()).reading("gpus.0.power_w")
    assert (reading.value, reading.absence) == (None, Absence.UNSUPPORTED)


def test_reading_of_one_of_several_is_that_one() -> None:
    gpu = GPUSample("GPU-a")
    reading = seen(gpu_status(gpu)).reading("gpus.0")
    assert (reading.value, reading.origin, reading.absence) == (gpu, None, None)


def test_reading_finds_statistics_by_uuid() -> None:
    stats = WindowStats(1.0, 3.0, 2.0, 3.0, 2)
    status = gpu_status(GPUSample("GPU-a"), power_w={"GPU-a": stats})
    assert seen(status).reading("power_w.GPU-a.mean").value == 2.0
    assert seen(status).reading("power_w.GPU-a").value == stats
    assert seen(status).reading("power_w.GPU-b.mean").absence is Absence.UNSUPPORTED


def test_reading_finds_one_core() -> None:
    reading = seen(cpu_status(core_percent=(5.0, None))).reading("sample.core_percent.0")
    assert (reading.value, reading.absence) == (5.0, None)


@pytest.mark.parametrize("path", ["sample.cpu_precent", "sampel.cpu_percent", "sample.cpu_percent.more", ""])
def test_reading_of_a_field_that_does_not_exist_is_an_error(path: str) -> None:
    with pytest.raises(AttributeError):
        seen(cpu_status(cpu_percent=1.0)).reading(path)


def test_reading_of_a_list_by_a_name_is_an_error() -> None:
    with pytest.raises(AttributeError):
        seen(gpu_status(GPUSample("GPU-a"))).reading("gpus.power_w")


class Plain:
    """A user's status need not be a dataclass."""

    free_bytes = 7
    unknown = None


@dataclass(frozen=True)
class Own:
    """Or it is one that says nothing of origins."""

    free_bytes: int | None = None
    absent: dict[str, Absence] = field(default_factory=dict)


@pytest.mark.parametrize("status", [Plain(), Own(7), {"free_bytes": 7}])
def test_reading_of_a_users_own_status_has_no_origin(status: Any) -> None:
    reading = seen(status).reading("free_bytes")
    assert (reading.value, reading.origin, reading.absence) == (7, None, None)


def test_absence_in_a_users_own_status_is_reported() -> None:
    assert seen(Plain()).reading("unknown").absence is Absence.UNSUPPORTED
    assert seen(Own(absent={"free_bytes": Absence.DENIED})).reading("free_bytes").absence is Absence.DENIED


@pytest.mark.parametrize(
    ("report", "trouble"),
    [
        (ServerReport(), None),
        (ServerReport(consecutive_failures=1, last_error=Failure("OSError", "gone")), Absence.UNREACHABLE),
        (ServerReport(busy_since_s=NOW_S - 9), Absence.HUNG),
        (ServerReport(consecutive_failures=2, busy_since_s=NOW_S - 9), Absence.HUNG),
    ],
)
def test_reports_become_observations(report: ServerReport, trouble: Absence | None) -> None:
    (one,) = observations({"localhost": report}, STALE_AFTER_S).values()
    assert (one.trouble, one.stale_after_s, one.status) == (trouble, STALE_AFTER_S, None)
