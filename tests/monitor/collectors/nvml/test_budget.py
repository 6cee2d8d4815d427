"""How many calls into the driver a reading takes: counted by the driver, not by the collector."""

import math

from pylon.monitor import GPUMonitor
from pylon.monitor.collectors.nvml.collector import DEFAULT_MAX_CALLS_PER_TICK, FAST_CALLS_PER_GPU
from pylon.monitor.status import Absence
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

GPUS = 8
# Of opening: init, count, two versions, the set of events; of each GPU handle, UUID, name, bus id and
# registration for events.
OPENING_CALLS = 5 + 5 * GPUS
PROCESS_LISTS = ("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v3")
SLOW_CALLS = {
    *PROCESS_LISTS,
    "nvmlDeviceGetTotalEccErrors",
    "nvmlDeviceGetFanSpeed",
    "nvmlDeviceGetPcieThroughput",
    "nvmlDeviceGetMigMode",
    "nvmlDeviceGetPersistenceMode",
    "nvmlDeviceGetComputeMode",
    "nvmlDeviceGetEnforcedPowerLimit",
}


def ticks(reader, stand_in, count, every_s=1.0):
    """Per tick: calls as the driver counts them, calls as the status tells, GPUs read slowly in it."""
    for _ in range(count):
        stand_in.forget_calls()
        status = reader.collect(every_s)
        slowly = [gpu.index for gpu in status.gpus if gpu.slow_monotonic_s == status.monotonic_s]
        yield sum(stand_in.calls().values()), status.driver_calls, slowly


def test_calls_per_tick_of_eight_gpus_stay_within_the_budget(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"gpus {GPUS}", "process 1 1000", "graphics 1 1000", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        rows = list(ticks(reader, stand_in, 41))
    counted = [row[0] for row in rows]
    assert counted[0] <= OPENING_CALLS + DEFAULT_MAX_CALLS_PER_TICK
    assert max(counted[1:]) <= DEFAULT_MAX_CALLS_PER_TICK
    assert min(counted[1:]) == FAST_CALLS_PER_GPU * GPUS + 1 == 65, (
        "one for events; no tick between slow ones takes more"
    )
    assert all(told == real for real, told, _ in rows), "the status tells the true number"
    read_slowly = [gpu for _, _, slowly in rows for gpu in slowly]
    assert {read_slowly.count(gpu) for gpu in range(GPUS)} <= {4, 5}, "every 10 s, four to five times in 41 s"
    assert all(len(slowly) <= 2 for _, _, slowly in rows), "the slow readings of GPUs are spread over ticks"


def test_documented_number_of_calls_per_reading_is_the_true_one():
    documented = " ".join((GPUMonitor.__doc__ or "").split())
    assert f"The {FAST_CALLS_PER_GPU} per GPU that each reading needs" in documented


def test_small_budget_delays_slow_fields_rather_than_to_be_exceeded(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"gpus {GPUS}", stand_in.logging)
    with Reader(stand_in.environment, max_calls_per_tick=1, slow_interval_s=1.0) as reader:
        rows = list(ticks(reader, stand_in, 2 * GPUS))
    slowly = [gpus for _, _, gpus in rows]
    assert [gpus[0] for gpus in slowly] == [*range(GPUS), *range(GPUS)], "in turn, one in each tick"
    assert all(len(gpus) == 1 for gpus in slowly)
    assert max(real for real, _, _ in rows[1:]) <= 64 + 15


def test_fast_tick_makes_no_slow_call(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", stand_in.logging)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        assert set(stand_in.calls()) >= SLOW_CALLS, "the first reading made them"
        stand_in.forget_calls()
        status = reader.collect()
        assert not SLOW_CALLS & set(stand_in.calls())
        assert status.gpus[0].fan_percent == 30.0, "what was read before is shown with its time"
        assert status.gpus[0].slow_monotonic_s == status.monotonic_s - 1.0


def test_slow_fields_not_read_yet_are_reported(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"gpus {GPUS}")
    with Reader(stand_in.environment) as reader:
        last = reader.collect().gpus[-1]
    assert last.slow_monotonic_s is None
    assert (last.processes, last.fan_percent) == (None, None)
    assert last.absent["processes"] is last.absent["fan_percent"] is Absence.STARTING
    assert last.name == "Stand-in 7"
    assert last.power_w == 250.5


def test_slow_interval_is_kept(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment, slow_interval_s=3.0) as reader:
        times = list(ticks(reader, stand_in, 10, every_s=0.5))
    assert [bool(slowly) for _, _, slowly in times] == [tick % 6 == 0 for tick in range(10)]


def test_what_is_not_supported_is_asked_once_in_a_session(tmp_path):
    stand_in = StandIn(tmp_path)
    unsupported = ("nvmlDeviceGetUtilizationRates", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetFanSpeed")
    stand_in.behave(*(f"unsupported {call}" for call in unsupported), stand_in.logging)
    with Reader(stand_in.environment, slow_interval_s=2.0) as reader:
        for _ in range(6):
            status = reader.collect()
        assert [stand_in.calls()[call] for call in unsupported] == [1, 1, 1]
        assert status.gpus[0].absent == {
            "utilization_percent": Absence.UNSUPPORTED,
            "memory_busy_percent": Absence.UNSUPPORTED,
            "power_w": Absence.UNSUPPORTED,
            "fan_percent": Absence.UNSUPPORTED,
        }
        stand_in.behave(stand_in.logging)
        reader.ask("close")
        assert reader.collect().gpus[0].absent == {}, "a new session asks anew"


def test_lost_gpu_costs_one_call_per_tick(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2")
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("gpus 2", "lost 1", stand_in.logging)
        for _ in range(20):
            reader.collect()
    assert sum(stand_in.calls(gpu=1).values()) == 20
    assert sum(stand_in.calls(gpu=0).values()) >= 20 * FAST_CALLS_PER_GPU
    assert math.isclose(stand_in.calls(gpu=0)["nvmlDeviceGetFanSpeed"], 2, abs_tol=1)
