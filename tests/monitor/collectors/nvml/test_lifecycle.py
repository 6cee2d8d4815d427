"""What a driver may do in its life, really done by the stand-in, and what is seen of the GPUs then."""

import pytest

from pylon.monitor.status import Absence
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

pytestmark = pytest.mark.slow

UNINITIALIZED, INVALID_ARGUMENT, NO_PERMISSION, DRIVER_NOT_LOADED = 1, 2, 4, 9
GPU_IS_LOST, RESET_REQUIRED, MISMATCH, UNKNOWN = 15, 16, 18, 999
INIT = "nvmlInitWithFlags"


def uuid(gpu):
    return f"GPU-{gpu:08d}-0000-0000-0000-000000000000"


def is_well(status, gpus):
    return (
        status.absence is None
        and [gpu.uuid for gpu in status.gpus] == [uuid(gpu) for gpu in gpus]
        and all(gpu.power_w is not None for gpu in status.gpus)
    )


def test_machine_without_driver_is_quiet_and_the_driver_is_found_when_it_appears(tmp_path):
    stand_in = StandIn(tmp_path, installed=False)
    with Reader(stand_in.environment) as reader:
        nothing = reader.collect()
        assert (nothing.gpus, nothing.absence) == ((), Absence.UNSUPPORTED)
        assert "Not Found" in nothing.error
        assert reader.collect(9.0).absence is Absence.UNSUPPORTED
        stand_in.install()
        assert reader.collect(0.5).absence is Absence.UNSUPPORTED, "it is looked for every 10 s"
        assert is_well(reader.collect(0.5), [0])
        reader.process.stdin.close()
        assert reader.process.wait(timeout=10) == 0
        assert reader.process.stderr.read() == b""


def test_driver_that_is_not_loaded_yet_is_found_when_it_is(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"init_error {DRIVER_NOT_LOADED}", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        for _ in range(25):
            assert reader.collect().absence is Absence.UNSUPPORTED
        assert stand_in.calls()[INIT] == 3, "every 10 s"
        stand_in.behave("gpus 2")
        assert is_well(reader.collect(10.0), [0, 1])


@pytest.mark.parametrize(
    ("code", "absence"),
    [(UNKNOWN, Absence.UNREACHABLE), (NO_PERMISSION, Absence.DENIED), (MISMATCH, Absence.UNREACHABLE)],
)
def test_driver_that_cannot_be_opened_is_reported_and_tried_ever_more_rarely(tmp_path, code, absence):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"init_error {code}", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        for _ in range(700):
            status = reader.collect()
        assert (status.gpus, status.absence) == ((), absence)
        assert str(code) in status.error
        # At 0, 5, 15, 35, 75, 155, 315 and 615 s.
        assert stand_in.calls() == {INIT: 8}
        stand_in.behave()
        assert is_well(reader.collect(300.0), [0])


def test_driver_that_opens_but_does_not_count_its_gpus_is_closed_again(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"error nvmlDeviceGetCount_v2 {UNKNOWN}", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        for _ in range(20):
            assert reader.collect().absence is Absence.UNREACHABLE
    calls = stand_in.calls()
    assert calls[INIT] == calls["nvmlShutdown"] == 3, "sessions are not piled up"


def test_lost_gpu_stays_in_view_and_costs_no_other(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3")
    with Reader(stand_in.environment) as reader:
        before = reader.collect()
        assert is_well(before, [0, 1, 2])
        stand_in.behave("gpus 3", "lost 1")
        status = reader.collect()
        first, lost, last = status.gpus
        assert (lost.uuid, lost.name, lost.index) == (uuid(1), "Stand-in 1", 1)
        assert set(lost.absent.values()) == {Absence.LOST}
        assert {"power_w", "processes", "fan_percent", "mig_instances"} <= set(lost.absent)
        assert (lost.power_w, lost.processes, lost.fan_percent) == (None, None, None)
        assert first.absent == last.absent == {}
        assert first.power_w == last.power_w == 250.5
        assert status.absence is None
        assert status.power_w[uuid(1)].newest is None
        stand_in.behave("gpus 3")
        assert is_well(reader.collect(), [0, 1, 2]), "it is seen again when it answers"


def test_gpu_lost_in_a_slow_call_is_lost_for_that_tick(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", f"error nvmlDeviceGetFanSpeed {GPU_IS_LOST} 0", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        status = reader.collect()
    assert stand_in.calls(gpu=0)["nvmlDeviceGetFanSpeed"] == 1
    assert set(status.gpus[0].absent.values()) == {Absence.LOST}
    assert status.gpus[1].absent == {}


def test_gpu_without_handle_at_the_start_hides_no_other_and_is_looked_for(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3", "lost_handle 1", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        status = reader.collect()
        assert [gpu.uuid for gpu in status.gpus] == [uuid(0), "index:1", uuid(2)]
        assert set(status.gpus[1].absent.values()) == {Absence.LOST}
        assert status.gpus[0].absent == status.gpus[2].absent == {}
        for _ in range(19):
            reader.collect()
        assert stand_in.calls(gpu=1)["nvmlDeviceGetHandleByIndex_v2"] <= 4
        stand_in.behave("gpus 3")
        reader.collect(10.0)
        assert is_well(reader.collect(), [0, 1, 2])


def test_gpu_that_is_not_permitted_is_reported_and_hides_no_other(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", f"error nvmlDeviceGetHandleByIndex_v2 {NO_PERMISSION} 0")
    with Reader(stand_in.environment) as reader:
        denied, well = reader.collect().gpus
    assert set(denied.absent.values()) == {Absence.DENIED}
    assert well.absent == {}


def test_choice_of_gpus_waits_until_every_gpu_has_a_name(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3", "lost_handle 1")
    with Reader(stand_in.environment, visible_devices=f"{uuid(2)},{uuid(1)}") as reader:
        assert is_well(reader.collect(), [2]), "the other one may be the nameless"
        stand_in.behave("gpus 3")
        reader.ask("close")
        assert is_well(reader.collect(), [2, 1])


@pytest.mark.parametrize("generations", [1, 4])
def test_driver_reset_is_over_at_the_next_tick(tmp_path, generations):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        assert is_well(reader.collect(), [0, 1])
        for generation in range(1, generations + 1):
            reader.collect(10.0)
            stand_in.behave("gpus 2", f"generation {generation}", stand_in.logging)
            stand_in.forget_calls()
            assert is_well(reader.collect(), [0, 1])
            calls = stand_in.calls()
            assert calls[INIT] == calls["nvmlShutdown"] == 1, "the old session was over"


def test_gpus_are_found_by_uuid_when_a_reset_puts_them_in_another_order(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3")
    with Reader(stand_in.environment, visible_devices="0,2") as reader:
        assert is_well(reader.collect(), [0, 2])
        stand_in.behave("gpus 3", "order 2 1 0", "generation 1")
        status = reader.collect(10.0)
    assert is_well(status, [0, 2])
    assert [gpu.index for gpu in status.gpus] == [2, 0]
    assert [gpu.name for gpu in status.gpus] == ["Stand-in 0", "Stand-in 2"]
    assert status.power_w[uuid(0)].count == 2, "the window goes on"


def test_gpu_that_is_gone_after_a_reset_stays_in_view(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("gpus 2", "order 0 2", "generation 1")
        status = reader.collect(10.0)
        assert [gpu.uuid for gpu in status.gpus] == [uuid(0), uuid(2), uuid(1)]
        assert set(status.gpus[2].absent.values()) == {Absence.LOST}
        assert status.gpus[2].index is None
        assert status.gpus[0].absent == status.gpus[1].absent == {}
        stand_in.behave("gpus 3", "generation 2")
        assert is_well(reader.collect(10.0), [0, 1, 2])


def test_gpu_that_has_no_handle_after_a_reset_stays_in_view(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("gpus 2", "generation 1", "lost_handle 0")
        status = reader.collect(10.0)
        assert [gpu.uuid for gpu in status.gpus] == [uuid(0), uuid(1)]
        assert set(status.gpus[0].absent.values()) == {Absence.LOST}
        assert status.gpus[0].name == "Stand-in 0"


def test_driver_that_forgets_us_at_every_call_is_not_opened_hotly(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("gpus 2", f"error nvmlDeviceGetUtilizationRates {UNINITIALIZED}", stand_in.logging)
        reader.collect(10.0)
        for _ in range(99):
            status = reader.collect()
        # 0, 5, 15, 35 and 75 s after the first.
        assert stand_in.calls()[INIT] == 5
        assert status.absence is Absence.UNREACHABLE
        assert [gpu.uuid for gpu in status.gpus] == [uuid(0), uuid(1)], "they stay in view"
        assert set(status.gpus[0].absent.values()) == {Absence.UNREACHABLE}
        stand_in.behave("gpus 2")
        assert is_well(reader.collect(300.0), [0, 1])


@pytest.mark.parametrize(
    ("stale", "absence"), [(INVALID_ARGUMENT, Absence.UNREACHABLE), (RESET_REQUIRED, Absence.LOST)]
)
def test_handles_gone_bad_are_asked_for_again(tmp_path, stale, absence):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("gpus 2", "generation 1", f"stale {stale}", stand_in.logging)
        bad = reader.collect()
        assert set(bad.gpus[0].absent.values()) == {absence}, "less than 5 s after the last opening"
        assert stand_in.calls()[INIT] == 0
        assert is_well(reader.collect(10.0), [0, 1])
        assert stand_in.calls()[INIT] == 1


def test_one_gpu_that_needs_a_reset_does_not_take_the_view_of_the_others(tmp_path):
    stand_in = StandIn(tmp_path)
    calls = ("UtilizationRates", "MemoryInfo", "MemoryInfo_v2", "Temperature", "PowerUsage")
    calls += ("TotalEnergyConsumption", "ClockInfo", "CurrentClocksThrottleReasons")
    stand_in.behave(
        "gpus 2", *(f"error nvmlDeviceGet{call} {RESET_REQUIRED} 0" for call in calls), stand_in.logging
    )
    with Reader(stand_in.environment) as reader:
        for _ in range(300):
            status = reader.collect()
            assert status.absence is None
            assert status.gpus[1].power_w == 250.5
        assert status.gpus[0].absent["power_w"] is Absence.LOST
        # At 0, 5, 15, 35, 75 and 155 s.
        assert stand_in.calls()[INIT] == 6


def test_driver_unloaded_after_it_was_there_leaves_its_gpus_in_view_as_lost(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("generation 1", f"init_error {DRIVER_NOT_LOADED}")
        status = reader.collect(10.0)
        assert status.absence is Absence.LOST
        assert [set(gpu.absent.values()) for gpu in status.gpus] == [{Absence.LOST}] * 2
        stand_in.behave("gpus 2", "generation 1")
        assert is_well(reader.collect(10.0), [0, 1])
