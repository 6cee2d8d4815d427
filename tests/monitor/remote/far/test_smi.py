"""What nvidia-smi prints, over driver generations; captures/ is written after its style, not recorded."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.monitor.remote.far import far_script
from pylon.monitor.remote.far.gpu_users import gpu_process
from pylon.monitor.remote.far.sections import MalformedError
from pylon.monitor.remote.far.smi import (
    SMI_FIELDS,
    absence_of,
    gpu_figures,
    mig_instances,
)
from pylon.monitor.status import Absence
from pylon.monitor.status.cpu import MOST_PROCESSES
from pylon.monitor.status.gpu import smi_fields

CAPTURES = Path(__file__).parent / "captures"
GPU = "GPU-aaaabbbb-1111-2222-3333-444455556666"


def capture(name: str):
    queried, *lines = (CAPTURES / f"{name}.txt").read_text().splitlines()
    return [gpu_figures(tuple(queried.split(",")), line) for line in lines]


def test_driver_384_does_not_know_what_came_later() -> None:
    (gpu,) = capture("driver_384_p100")
    assert gpu.values["utilization_percent"] == 97.0
    assert gpu.values["memory_used_bytes"] == 15321 * 2**20
    assert gpu.values["power_w"] == 184.93
    assert gpu.values["sm_clock_hz"] == 1328e6
    assert gpu.values["throttle_names"] == ("sw_power_cap",)
    assert gpu.values["persistence_mode"] is True
    assert gpu.driver_version == "384.81"
    for name in ("memory_reserved_bytes", "mig_enabled", "fan_percent"):
        assert gpu.absent[name] is Absence.UNSUPPORTED


@pytest.mark.parametrize(
    ("printed", "utilization"),
    [("100", 100.0), ("0", 0.0), ("101", None), ("4294967295", None), ("-1", None)],
)
def test_share_of_more_than_all_is_no_share(printed, utilization) -> None:
    line = gpu_figures(("index", "uuid", "utilization.gpu", "fan.speed"), f"0, {GPU}, {printed}, 120")
    assert line.values.get("utilization_percent") == utilization
    assert (line.absent.get("utilization_percent") is Absence.UNREACHABLE) == (utilization is None)
    assert line.values["fan_percent"] == 120.0, "of its usual speed"


def test_geforce_has_a_fan_and_no_ecc() -> None:
    (gpu,) = capture("driver_418_geforce")
    assert gpu.values["fan_percent"] == 23.0
    assert gpu.values["utilization_percent"] == 0.0
    assert gpu.values["persistence_mode"] is False
    assert gpu.absent["ecc_corrected_errors"] is Absence.UNSUPPORTED


def test_a_divided_gpu_reports_no_utilisation() -> None:
    divided, whole = capture("driver_470_a100_mig")
    assert divided.values["mig_enabled"] is True
    assert divided.absent["utilization_percent"] is Absence.UNSUPPORTED
    assert whole.values["mig_enabled"] is False
    assert whole.values["throttle_names"] == ()
    assert whole.values["throttle_reasons"] == 0


def test_a_virtual_gpu_reports_little() -> None:
    (gpu,) = capture("driver_525_vgpu_guest")
    assert gpu.values["memory_total_bytes"] == 20475 * 2**20
    for name in ("power_w", "power_limit_w", "sm_clock_hz", "throttle_names", "mig_enabled"):
        assert gpu.absent[name] is Absence.UNSUPPORTED


def test_each_gpu_and_field_has_its_own_reason() -> None:
    well, lost, faulty = capture("driver_550_h100")
    assert well.values["memory_reserved_bytes"] == 331 * 2**20
    assert set(lost.absent) == SMI_FIELDS - {"name", "pci_bus_id"}
    assert set(lost.absent.values()) <= {Absence.LOST, Absence.UNSUPPORTED}
    assert lost.absent["power_w"] is Absence.LOST
    assert faulty.absent["utilization_percent"] is Absence.UNREACHABLE
    assert faulty.absent["power_w"] is Absence.UNREACHABLE
    assert faulty.absent["ecc_corrected_errors"] is Absence.DENIED
    assert faulty.values["memory_used_bytes"] == 0


@pytest.mark.parametrize("name", [path.stem for path in sorted(CAPTURES.glob("driver_*.txt"))])
def test_every_field_has_a_value_or_a_reason(name) -> None:
    for gpu in capture(name):
        assert gpu.values.keys().isdisjoint(gpu.absent)
        assert gpu.values.keys() | gpu.absent.keys() == SMI_FIELDS


def test_the_far_script_queries_exactly_what_can_be_read_here() -> None:
    (line,) = [one for one in far_script().decode().splitlines() if one.startswith("gpu_fields=")]
    queried = line.removeprefix("gpu_fields=").split(",")
    assert len(queried) == len(set(queried))
    answers = ", ".join(["0", GPU, *("" for _ in queried[2:])])
    assert queried[:2] == ["index", "uuid"], "the far script recognises a line by its first value"
    assert queried[-1] == "mig.mode.current", "and a divided GPU by its last one"
    figures = gpu_figures(tuple(queried), answers)
    assert set(figures.absent.values()) == {Absence.UNREACHABLE}, "each field is queried by one name at least"
    assert figures.absent.keys() == SMI_FIELDS == smi_fields().keys() - {"index", "uuid"}
    for name in set(queried) - {"index", "uuid", "driver_version"}:
        assert any(name in names for names in smi_fields().values()), f"{name} is queried and not read"


def test_the_far_script_has_no_gap_left() -> None:
    assert re.findall("@[A-Z_]+@", far_script().decode()) == []
    assert f"\nMOST_TOP={MOST_PROCESSES}\n" in far_script().decode()


@pytest.mark.parametrize(
    ("word", "mode"),
    [("Prohibited", "prohibited"), ("Exclusive_Process", "exclusive_process"), ("[N/A]", None), ("?", None)],
)
def test_the_compute_mode_is_named_as_on_this_machine(word, mode) -> None:
    figures = gpu_figures(("index", "uuid", "compute_mode"), f"0, {GPU}, {word}")
    assert figures.values.get("compute_mode") == mode
    assert (mode is None) is ("compute_mode" in figures.absent)


def test_driver_550_reports_the_memory_temperature_of_hbm() -> None:
    queried = ("index", "uuid", "temperature.gpu", "temperature.memory")
    figures = gpu_figures(queried, f"0, {GPU}, 45, 61")
    assert (figures.values["temperature_c"], figures.values["memory_temperature_c"]) == (45.0, 61.0)
    figures = gpu_figures(queried, f"0, {GPU}, 45, N/A")
    assert figures.absent["memory_temperature_c"] is Absence.UNSUPPORTED


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Unable to determine the device handle for GPU 0000:41:00.0: GPU is lost.",
        "0, GPU-1234-1234",
        "0, GPU-1234-1234, 1, 2",
        "x, GPU-1234-1234, 1",
        "0, [Unknown Error], 1",
        "0, GPU-\x1b[31m, 1",
        "99999999, GPU-1234-1234, 1",
        "-1, GPU-1234-1234, 1",
    ],
)
def test_a_line_that_is_none_is_not_half_read(line) -> None:
    with pytest.raises(MalformedError):
        gpu_figures(("index", "uuid", "utilization.gpu"), line)


@pytest.mark.parametrize("word", ["35 %", "35", "35.0"])
def test_units_that_were_not_asked_for_do_no_harm(word) -> None:
    figures = gpu_figures(("index", "uuid", "utilization.gpu"), f"0, GPU-1234-1234, {word}")
    assert figures.values["utilization_percent"] == 35.0


@pytest.mark.parametrize("word", ["nan", "inf", "1e300", "--5", "", "0x10", "5 W", "٣"])
def test_a_number_that_is_none_is_absent(word) -> None:
    figures = gpu_figures(("index", "uuid", "utilization.gpu"), f"0, GPU-1234-1234, {word}")
    assert figures.absent["utilization_percent"] is Absence.UNREACHABLE


def test_old_and_new_drivers_list_parts_of_a_gpu() -> None:
    old = mig_instances((CAPTURES / "list_mig_460.txt").read_text().splitlines())
    assert [(one.gpu_instance_id, one.compute_instance_id) for one in old[GPU]] == [(1, 0), (3, 0)]
    new = mig_instances((CAPTURES / "list_mig_550.txt").read_text().splitlines())
    assert [one.uuid[:12] for one in new[GPU]] == ["MIG-0a1b2c3d", "MIG-5e6f7a8b"]
    assert new["GPU-ccccdddd-1111-2222-3333-444455556666"] == ()


def test_a_process_has_what_proc_reports_of_it() -> None:
    uuid, one = gpu_process(f"1000\talice\tpython3\t{GPU}, 4242, 1024, /opt/conda/bin/python3")
    assert uuid == GPU
    assert (one.pid, one.memory_used_bytes, one.name, one.owner_uid, one.owner_name) == (
        *(4242, 2**30, "python3"),
        *(1000, "alice"),
    )
    assert one.of_run is False


def test_a_process_of_another_namespace_has_only_what_the_driver_reports() -> None:
    _, one = gpu_process(f"-\t-\t\t{GPU}, 4242, [N/A], /opt/my, comma/python3 -m train")
    assert (one.memory_used_bytes, one.owner_uid, one.owner_name) == (None, None, None)
    assert one.name == "my,"
    _, one = gpu_process(f"-\t-\t\t{GPU}, 4242, [N/A], /opt/train --token hf_X, --n 3")
    assert one.command == "/opt/train --token ***, --n 3"
    _, one = gpu_process(f"-\t-\t\t{GPU}, 4242, [N/A], [Not Found]")
    assert (one.name, one.command) == (None, None)


def test_words_give_the_reason_there_is_nothing() -> None:
    assert absence_of("No devices were found") is None
    assert absence_of("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.") is (
        Absence.UNSUPPORTED
    )
    assert absence_of("Failed to initialize NVML: Insufficient Permissions") is Absence.DENIED
    assert absence_of("Failed to initialize NVML: Driver/library version mismatch") is Absence.UNREACHABLE


@given(st.text(max_size=200), st.lists(st.sampled_from(sorted(SMI_FIELDS)), max_size=4))
def test_any_line_is_read_whole_or_refused(line, more) -> None:
    try:
        figures = gpu_figures(("index", "uuid", *more), line)
    except MalformedError:
        return
    assert figures.values.keys() | figures.absent.keys() == SMI_FIELDS


@given(st.lists(st.text(max_size=30), min_size=24, max_size=24))
def test_any_values_are_figures_or_absent(words) -> None:
    queried, line = (CAPTURES / "driver_550_h100.txt").read_text().splitlines()[:2]
    identity = line.split(", ")[:2]
    changed = ", ".join([*identity, *(word.replace(",", " ") for word in words[1:])])
    figures = gpu_figures(tuple(queried.split(",")), changed)
    for name, value in figures.values.items():
        assert isinstance(value, str | bool | int | float | tuple)
        assert name not in figures.absent


@given(st.text(max_size=120))
def test_any_process_line_is_read_or_refused(line) -> None:
    try:
        gpu_process(line)
    except MalformedError:
        return


@given(st.lists(st.text(max_size=60), max_size=10))
def test_any_list_of_parts_is_read(lines) -> None:
    mig_instances(lines)
    absence_of("\n".join(lines))
