"""Each field of a GPU, and each reason why one may be absent, from real pynvml and the stand-in driver."""

import contextlib
import dataclasses

import pytest

from pylon.monitor.collectors.gpu_figures import IDENTITY_FIELDS, MEASURED_FIELDS, USER_FIELDS
from pylon.monitor.collectors.nvml.fields import FAST, IDENTITY, SLOW
from pylon.monitor.status import Absence, GPUProcess, GPUSample, Scope, origins
from pylon.monitor.status.gpu import MIGInstance
from pylon.monitor.status.throttling import throttle_names
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

GIB = 2**30
NOT_SUPPORTED, NO_PERMISSION, TIMEOUT, FUNCTION_NOT_FOUND, INVALID_ARGUMENT, UNKNOWN = 3, 4, 10, 13, 2, 999


def uuid(gpu):
    return f"GPU-{gpu:08d}-0000-0000-0000-000000000000"


def test_every_field_of_a_gpu(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(
        "gpus 2", "value nvmlDeviceGetUtilizationRates 63", "value nvmlDeviceGetTotalEnergyConsumption 5000"
    )
    with Reader(stand_in.environment) as reader:
        status = reader.collect()
    assert (status.driver_version, status.cuda_version, status.absence, status.error) == (
        "999.01",
        "13.1",
        None,
        None,
    )
    assert not status.released
    assert [gpu.uuid for gpu in status.gpus] == [uuid(0), uuid(1)]
    assert status.gpus[1] == GPUSample(
        uuid=uuid(1),
        index=1,
        name="Stand-in 1",
        pci_bus_id="00000000:02:00.0",
        utilization_percent=63.0,
        memory_busy_percent=20.0,
        memory_used_bytes=2 * GIB,
        memory_total_bytes=80 * GIB,
        memory_reserved_bytes=GIB // 4,
        temperature_c=45.0,
        power_w=250.5,
        energy_j=5.0,
        sm_clock_hz=1500e6,
        memory_clock_hz=2600e6,
        throttle_reasons=4,
        throttle_names=("sw_power_cap",),
        slow_monotonic_s=status.monotonic_s,
        memory_temperature_c=61.0,
        sm_clock_max_hz=1980e6,
        memory_clock_max_hz=2619e6,
        power_limit_w=700.0,
        fan_percent=30.0,
        pcie_received_bytes_per_s=2e6,
        pcie_sent_bytes_per_s=1e6,
        ecc_corrected_errors=3,
        ecc_uncorrected_errors=0,
        persistence_mode=True,
        compute_mode="default",
        mig_enabled=False,
        mig_instances=(),
        processes=(),
        run_memory_used_bytes=0,
        others_memory_used_bytes=0,
    )


@pytest.mark.parametrize("kind", [GPUSample, GPUProcess, MIGInstance])
def test_every_measured_field_has_its_origin(kind):
    found = origins(kind)
    unmeasured = {"absent", "slow_monotonic_s", "processes_left_out", "side"}
    assert {one.name for one in dataclasses.fields(kind)} - set(found) <= unmeasured
    assert all(origin.source for origin in found.values())
    if kind is GPUSample:
        assert {origin.scope for origin in found.values()} == {Scope.DEVICE}


def calls_of(query):
    return [query.call] if query.instead is None else [query.call, *calls_of(query.instead)]


def test_origin_of_a_field_is_the_call_that_gives_it():
    found = origins(GPUSample)
    for query in (*IDENTITY, *FAST, *SLOW):
        # Two versions of a function have one name in the documentation.
        calls = " or ".join(dict.fromkeys(calls_of(query)))
        assert {found[name].source for name in query.fields} == {calls}, query.fields


def test_every_field_of_a_gpu_is_queried_or_derived():
    queried = [name for query in (*IDENTITY, *FAST, *SLOW) for name in query.fields]
    assert len(queried) == len(set(queried))
    assert {name for query in IDENTITY for name in query.fields} == set(IDENTITY_FIELDS)
    assert MEASURED_FIELDS - set(queried) == {*USER_FIELDS, "mig_instances"}


MEMORY_TEMPERATURE = 82


@pytest.mark.parametrize(("kind", "number"), [(0, 55), (1, 61), (2, 62), (3, 63), (4, 64), (5, -5), (6, 66)])
def test_value_of_a_field_is_read_by_its_type(tmp_path, kind, number):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"field_type {MEMORY_TEMPERATURE} {kind}", f"value {MEMORY_TEMPERATURE} {number}")
    with Reader(stand_in.environment) as reader:
        assert reader.collect().gpus[0].memory_temperature_c == number


@pytest.mark.parametrize(
    ("code", "absence"),
    [(NO_PERMISSION, Absence.DENIED), (TIMEOUT, Absence.HUNG), (UNKNOWN, Absence.UNREACHABLE)],
)
def test_error_inside_a_field_value_is_its_reason_and_is_tried_again(tmp_path, code, absence):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", f"field_error {MEMORY_TEMPERATURE} {code} 0", stand_in.logging)
    with Reader(stand_in.environment, slow_interval_s=1.0) as reader:
        ill, well = reader.collect().gpus
        assert ill.absent == {"memory_temperature_c": absence}
        assert well.memory_temperature_c == 61.0
        stand_in.behave("gpus 2", stand_in.logging)
        assert reader.collect().gpus[0].memory_temperature_c == 61.0
    assert stand_in.calls(gpu=0)["nvmlDeviceGetFieldValues"] == 2


@pytest.mark.parametrize("code", [NOT_SUPPORTED, INVALID_ARGUMENT])
def test_field_value_that_is_not_supported_is_asked_once_in_a_session(tmp_path, code):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"field_error {MEMORY_TEMPERATURE} {code}", stand_in.logging)
    with Reader(stand_in.environment, slow_interval_s=1.0) as reader:
        for _ in range(4):
            gpu = reader.collect().gpus[0]
        assert gpu.absent == {"memory_temperature_c": Absence.UNSUPPORTED}
        assert gpu.temperature_c == 45.0
        assert stand_in.calls()["nvmlDeviceGetFieldValues"] == 1
        assert stand_in.calls()["nvmlDeviceGetFanSpeed"] == 4, "slow fields were read at each of these ticks"
        reader.ask("close")
        reader.collect()
        assert stand_in.calls()["nvmlDeviceGetFieldValues"] == 2, "a new session asks again"


FIELDS_OF_CALL = {
    "nvmlDeviceGetName": {"name"},
    "nvmlDeviceGetPciInfo_v3": {"pci_bus_id"},
    "nvmlDeviceGetUtilizationRates": {"utilization_percent", "memory_busy_percent"},
    "nvmlDeviceGetPowerUsage": {"power_w"},
    "nvmlDeviceGetTotalEnergyConsumption": {"energy_j"},
    "nvmlDeviceGetClockInfo": {"sm_clock_hz", "memory_clock_hz"},
    "nvmlDeviceGetFieldValues": {"memory_temperature_c"},
    "nvmlDeviceGetMaxClockInfo": {"sm_clock_max_hz", "memory_clock_max_hz"},
    "nvmlDeviceGetEnforcedPowerLimit": {"power_limit_w"},
    "nvmlDeviceGetFanSpeed": {"fan_percent"},
    "nvmlDeviceGetPcieThroughput": {"pcie_received_bytes_per_s", "pcie_sent_bytes_per_s"},
    "nvmlDeviceGetTotalEccErrors": {"ecc_corrected_errors", "ecc_uncorrected_errors"},
    "nvmlDeviceGetPersistenceMode": {"persistence_mode"},
    "nvmlDeviceGetComputeMode": {"compute_mode"},
    "nvmlDeviceGetMigMode": {"mig_enabled", "mig_instances"},
    "nvmlDeviceGetComputeRunningProcesses_v3": {
        "processes",
        "run_memory_used_bytes",
        "others_memory_used_bytes",
    },
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "absence"),
    [
        (NOT_SUPPORTED, Absence.UNSUPPORTED),
        (FUNCTION_NOT_FOUND, Absence.UNSUPPORTED),
        (NO_PERMISSION, Absence.DENIED),
        (TIMEOUT, Absence.HUNG),
        (INVALID_ARGUMENT, Absence.UNREACHABLE),
        (UNKNOWN, Absence.UNREACHABLE),
    ],
)
def test_error_of_one_call_costs_its_own_fields_and_gives_their_reason(tmp_path, code, absence):
    stand_in = StandIn(tmp_path)
    readers = contextlib.ExitStack()
    with readers:
        reader = readers.enter_context(Reader(stand_in.environment))
        for call, fields in FIELDS_OF_CALL.items():
            stand_in.behave("gpus 2", f"error {call} {code} 0", stand_in.logging)
            stand_in.forget_calls()
            ill, well = reader.collect().gpus
            assert stand_in.calls(gpu=0)[call] > 0, f"{call} was not made"
            assert ill.absent == dict.fromkeys(fields, absence), call
            assert all(getattr(ill, field) is None for field in fields), call
            assert well.absent == {}, call
            assert stand_in.calls()["nvmlShutdown"] == 0, f"{call} has cost the session"
            if fields <= {"name", "pci_bus_id"}:
                # These are asked until they are known.
                reader = readers.enter_context(Reader(stand_in.environment))
            else:
                reader.ask("close")


def test_fields_that_have_another_call_are_asked_with_it(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(
        "unsupported nvmlDeviceGetMemoryInfo_v2",
        f"error nvmlDeviceGetTemperature {FUNCTION_NOT_FOUND}",
        f"error nvmlDeviceGetCurrentClocksThrottleReasons {FUNCTION_NOT_FOUND}",
        "value nvmlDeviceGetCurrentClocksEventReasons 9",
        stand_in.logging,
    )
    with Reader(stand_in.environment) as reader:
        gpu = reader.collect().gpus[0]
        reader.collect()
    assert gpu.memory_used_bytes == GIB + GIB // 4, "the first version counts what is reserved"
    assert gpu.memory_total_bytes == 80 * GIB
    assert gpu.temperature_c == 46.0
    assert gpu.throttle_names == ("gpu_idle", "hw_slowdown")
    assert gpu.absent == {"memory_reserved_bytes": Absence.UNSUPPORTED}
    calls = stand_in.calls()
    assert calls["nvmlDeviceGetMemoryInfo_v2"] == 1, "what is not supported is asked once"
    assert calls["nvmlDeviceGetMemoryInfo"] == 2


def test_numbers_that_stand_for_unknown_are_no_numbers(tmp_path):
    stand_in = StandIn(tmp_path)
    unknown_32, unknown_64 = 2**32 - 1, -1
    stand_in.behave(
        f"value nvmlDeviceGetPowerUsage {unknown_32}",
        f"value nvmlDeviceGetTotalEnergyConsumption {unknown_64}",
    )
    with Reader(stand_in.environment) as reader:
        gpu = reader.collect().gpus[0]
    assert (gpu.power_w, gpu.energy_j) == (None, None)
    assert gpu.absent == {"power_w": Absence.UNSUPPORTED, "energy_j": Absence.UNSUPPORTED}


@pytest.mark.parametrize("percent", [101, 1092, 2**31 - 1])
def test_share_of_more_than_all_is_no_share(tmp_path, percent):
    stand_in = StandIn(tmp_path)
    stand_in.behave(f"value nvmlDeviceGetUtilizationRates {percent}")
    with Reader(stand_in.environment) as reader:
        status = reader.collect()
    gpu = status.gpus[0]
    assert (gpu.utilization_percent, gpu.absent) == (None, {"utilization_percent": Absence.UNREACHABLE})
    assert gpu.memory_busy_percent == 20.0
    assert status.utilization_percent[uuid(0)].newest is None


def test_windows_go_over_the_readings_and_know_gaps(tmp_path):
    stand_in = StandIn(tmp_path)
    with Reader(stand_in.environment, window_size=3) as reader:
        for percent in (90, 10, 30):
            stand_in.behave(
                f"value nvmlDeviceGetUtilizationRates {percent}", "value nvmlDeviceGetPowerUsage 1000"
            )
            status = reader.collect()
        stand_in.behave("error nvmlDeviceGetUtilizationRates 999", "value nvmlDeviceGetPowerUsage 3000")
        gap = reader.collect()
    stats = status.utilization_percent[uuid(0)]
    assert (stats.minimum, stats.maximum, stats.newest, stats.count) == (10.0, 90.0, 30.0, 3)
    stats = gap.utilization_percent[uuid(0)]
    assert (stats.minimum, stats.maximum, stats.mean, stats.newest, stats.count) == (
        10.0,
        30.0,
        20.0,
        None,
        2,
    )
    assert gap.power_w[uuid(0)].maximum == 3.0
    assert gap.temperature_c[uuid(0)].count == 3
    assert gap.memory_used_bytes[uuid(0)].mean == GIB


@pytest.mark.parametrize(
    ("bits", "names"),
    [(0, ()), (1, ("gpu_idle",)), (0x48, ("hw_slowdown", "hw_thermal_slowdown")), (1 << 40, ("bit_40",))],
)
def test_throttle_reasons_in_words(bits, names):
    assert throttle_names(bits) == names


def test_divided_gpu_shows_its_instances(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 2", "mig 1 2")
    with Reader(stand_in.environment) as reader:
        whole, divided = reader.collect().gpus
    assert (whole.mig_enabled, whole.mig_instances) == (False, ())
    assert divided.mig_enabled is True
    assert divided.mig_instances == tuple(
        MIGInstance(f"MIG-00000001-0000-0000-0000-{part:012d}", part + 1, 0, GIB // 2, 10 * GIB)
        for part in (0, 1)
    )
    assert divided.absent["utilization_percent"] is Absence.UNSUPPORTED


def test_gpu_that_is_whole_again_reports_what_it_did_not_report_in_parts(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("mig 0 1")
    with Reader(stand_in.environment, slow_interval_s=5.0) as reader:
        assert reader.collect().gpus[0].utilization_percent is None
        stand_in.behave("value nvmlDeviceGetUtilizationRates 50")
        assert reader.collect(5.0).gpus[0].mig_instances == ()
        assert reader.collect().gpus[0].utilization_percent == 50.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("2,0", [2, 0]),
        ("GPU-00000001", [1]),
        ("MIG-00000002-0000-0000-0000-000000000001", [2]),
        ("MIG-GPU-00000002-0000-0000-0000-000000000000/1/0", [2]),
        ("0,0", []),
        (None, [0, 1, 2]),
    ],
)
def test_only_gpus_that_the_run_may_use_are_shown_and_asked(tmp_path, setting, shown):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3", "mig 2 2", stand_in.logging)
    with Reader(stand_in.environment, visible_devices=setting) as reader:
        status = reader.collect()
        assert [gpu.uuid for gpu in status.gpus] == [uuid(gpu) for gpu in shown]
        stand_in.forget_calls()
        reader.collect()
    asked = {gpu for gpu in range(3) if stand_in.calls(gpu)}
    assert asked == set(shown)


@pytest.mark.parametrize("setting", ["", "-1", "NoDevFiles"])
def test_driver_stays_closed_where_the_run_uses_no_gpu(tmp_path, setting):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment, visible_devices=setting) as reader:
        status = reader.collect()
    assert (status.gpus, status.absence) == ((), None)
    assert not stand_in.calls()
