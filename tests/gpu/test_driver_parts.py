"""The parts that need a driver pass on the stand-in, and fail where the driver or Pylon is wrong."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pylon.monitor import GPUSample, SystemMonitor
from pylon.monitor.remote.far.smi import QUERIED, SMI_FIELDS, GPUFigures, gpu_figures
from tests.gpu import free, nvml, overhead, runs
from tests.gpu.devices import VARIABLE, forms, wrong_devices
from tests.gpu.nvml import ask_nvidia_smi, disagreement
from tests.gpu.outcomes import Machine, Setting, Skipped
from tests.gpu.overhead import Spent, judged
from tests.gpu.release import check_release
from tests.gpu.smi_stand_in import STEADY, UUID, WORDS, install
from tests.gpu.watched import ALLOCATED_BYTES, Seen
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

pytestmark = pytest.mark.ci

# Just beyond what a GPU may change between two looks, or another switch.
WRONG = {
    "name": "Stand-in 1",
    "pci.bus_id": "00000000:02:00.0",
    "utilization.gpu": "48",
    "utilization.memory": "31",
    "memory.used": "1041",
    "memory.total": "81922",
    "memory.reserved": "258",
    "temperature.gpu": "48",
    "temperature.memory": "64",
    "power.draw": "269.00",
    "enforced.power.limit": "700.10",
    "clocks.sm": "1576",
    "clocks.mem": "2731",
    "clocks.max.sm": "1981",
    "clocks.max.mem": "2620",
    "clocks_throttle_reasons.active": "0x0000000000000001",
    "fan.speed": "36",
    "ecc.errors.corrected.volatile.total": "4",
    "ecc.errors.uncorrected.volatile.total": "1",
    "persistence_mode": "Disabled",
    "compute_mode": "Prohibited",
    "mig.mode.current": "Enabled",
}
SETTING = Setting("cuda", True, 1, 60, None, "", Machine("stand-in", [], [], [], "none"))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn(tmp_path)
    made.behave(STEADY, made.logging)
    install(tmp_path, WORDS)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for name, value in made.environment.items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GPUSample]:
    driver = StandIn(tmp_path_factory.mktemp("nvml"))
    driver.behave(STEADY)
    with Reader(driver.environment) as reader:
        yield reader.collect().gpus[0]


def figures(words: dict[str, str]) -> GPUFigures:
    return gpu_figures(QUERIED, ", ".join(words[name] for name in QUERIED))


def disagreeing(words: dict[str, str], sample: GPUSample) -> set[str]:
    return {name for name in SMI_FIELDS if disagreement(name, figures(words), sample, sample)}


def test_each_value_has_a_tolerance_with_a_reason() -> None:
    assert set(nvml.TOLERANCES) == SMI_FIELDS
    assert all(one.reason for one in nvml.TOLERANCES.values())


def test_what_the_stand_in_answers_agrees(sample: GPUSample) -> None:
    assert disagreeing(WORDS, sample) == set()


@pytest.mark.parametrize("queried", sorted(WRONG))
def test_one_wrong_value_is_found_and_no_other(queried: str, sample: GPUSample) -> None:
    found = disagreeing({**WORDS, queried: WRONG[queried]}, sample)
    field = next(name for name, (names, _) in _fields().items() if queried in names)
    assert found == ({field} if field != "throttle_reasons" else {"throttle_reasons", "throttle_names"})


def _fields() -> dict[str, tuple[tuple[str, ...], object]]:
    from pylon.monitor.remote.far import smi

    return {name: entry for name, entry in smi._FIELDS.items() if name != "throttle_names"}


def test_every_value_has_been_wrong_once() -> None:
    assert {name for name, (names, _) in _fields().items() if set(names) & set(WRONG)} == set(_fields())


def test_value_that_one_side_alone_has_is_found(sample: GPUSample) -> None:
    assert disagreeing({**WORDS, "power.draw": "[N/A]"}, sample) == {"power_w"}
    gone = replace(sample, temperature_c=None, absent={})
    assert disagreement("temperature_c", figures(WORDS), gone, gone) is not None


def test_value_that_both_sides_lack_for_the_same_reason_agrees(driver: StandIn) -> None:
    driver.behave(STEADY, "unsupported nvmlDeviceGetFanSpeed")
    with Reader(driver.environment) as reader:
        sample = reader.collect().gpus[0]
    assert disagreeing({**WORDS, "fan.speed": "[N/A]"}, sample) == set()


def test_fields_that_an_old_nvidia_smi_does_not_know_cost_no_other(driver: StandIn, tmp_path: Path) -> None:
    install(tmp_path, {name: word for name, word in WORDS.items() if name != "memory.reserved"})
    (found,) = ask_nvidia_smi()
    assert "memory_reserved_bytes" in found.absent
    assert found.values["power_w"] == 250.5


def test_nvml_passes_on_the_stand_in(driver: StandIn) -> None:
    report = nvml.run(SETTING)
    assert report.failures == []
    assert report.figure == "23 of 23 values of 1 GPU(s) agree"


@pytest.mark.parametrize(
    ("queried", "word", "failure"),
    [
        ("power.draw", "25.05", "GPU 0: power_w: nvidia-smi 25.05, Pylon 250.5 and 250.5"),
        ("driver_version", "550.1", "driver version: nvidia-smi 550.1, Pylon 999.01"),
        ("uuid", UUID.replace("GPU-0", "GPU-1"), "GPUs: nvidia-smi has"),
    ],
)
def test_nvml_fails_on_a_difference(
    driver: StandIn, monkeypatch: pytest.MonkeyPatch, queried: str, word: str, failure: str
) -> None:
    monkeypatch.setattr(nvml, "ROUNDS", 1)
    install(driver.library.parent, {**WORDS, queried: word})
    (found,) = nvml.run(SETTING).failures
    assert found.startswith(failure)


def sessions(driver: StandIn) -> Callable[[], bool]:
    def is_open() -> bool:
        calls = driver.calls()
        return calls["nvmlInitWithFlags"] + calls["nvmlInit_v2"] > calls["nvmlShutdown"]

    return is_open


class KeepingMonitor(SystemMonitor):
    """Forgets to close the driver."""

    def release(self) -> None: ...


class ForgettingMonitor(SystemMonitor):
    """Does not open the driver again."""

    def resume(self) -> None: ...


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        (SystemMonitor, None),
        (KeepingMonitor, "the driver is still open"),
        (ForgettingMonitor, "the driver is not open 1.0 s after resume()"),
    ],
)
def test_release_is_seen_by_the_driver(
    driver: StandIn, monkeypatch: pytest.MonkeyPatch, kind: type[SystemMonitor], failure: str | None
) -> None:
    if failure is not None:
        monkeypatch.setattr("tests.gpu.release.CLOSED_WITHIN_S", 1.0)
        monkeypatch.setattr("tests.gpu.release.OPENED_WITHIN_S", 1.0)
        monkeypatch.setattr(nvml, "_WITHIN_S", 2.0)
    with kind(interval_s=0.2, slow_interval_s=0.2) as monitor:
        report = check_release(monitor, sessions(driver))
    assert report.failures == [] if failure is None else report.failures[0].startswith(failure)


def test_release_fails_if_it_cannot_see_the_driver(driver: StandIn) -> None:
    with SystemMonitor(interval_s=0.2, slow_interval_s=0.2) as monitor:
        (failure,) = check_release(monitor, lambda: False).failures
    assert "this check sees nothing" in failure


def test_overhead_passes_on_the_stand_in(driver: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    # The bounds are for a machine that does nothing else.
    monkeypatch.setattr(overhead, "MOST_IN_TRAINING_S", 5.0)
    monkeypatch.setattr(overhead, "MOST_IN_MONITORS_S", 60.0)
    report = overhead.run(SETTING)
    assert report.failures == []
    assert report.details["gpus"] == 1


@pytest.mark.parametrize(
    ("watched", "failure"),
    [
        (Spent(0.45, 0.5), "training process: 0.35 s"),
        (Spent(0.1, 6.5), "monitor processes: 6.50 s"),
        (Spent(0.1, 0.0), "monitor processes: no CPU time"),
    ],
)
def test_overhead_fails_on(watched: Spent, failure: str) -> None:
    (found,) = judged([Spent(0.1, 0.0)] * 2, [watched] * 2, gpus=1).failures
    assert found.startswith(failure)


def test_free_passes_a_gpu_that_is_chosen_used_and_watched(driver: StandIn) -> None:
    line = free.ask_free()
    assert line == f"{VARIABLE}={UUID}"
    assert free.check_choice(line, lambda _: Seen([UUID], [UUID], {}, ALLOCATED_BYTES)).failures == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        (f"{VARIABLE}={UUID}", Seen([UUID], ["GPU-other"], {}, ALLOCATED_BYTES)),
        (f"{VARIABLE}={UUID}", Seen(["GPU-other"], [UUID], {}, ALLOCATED_BYTES)),
        (f"{VARIABLE}={UUID}", Seen([UUID], [UUID], {}, 0)),
        (f"{VARIABLE}={UUID}", Seen([UUID], [UUID], {}, None)),
        ("", Seen([UUID], [UUID], {}, ALLOCATED_BYTES)),
        (f"{VARIABLE}=", Seen([], [], {}, None)),
    ],
)
def test_free_fails_on_another_gpu_than_it_named(line: str, seen: Seen) -> None:
    assert free.check_choice(line, lambda _: seen).failures != []


@pytest.mark.parametrize(
    ("device", "names", "wrong"),
    [("cuda", ["one"], False), ("cuda", ["one", "two"], True), ("cuda", [], True), ("cpu", ["one"], True)],
)
def test_run_on_another_gpu_than_the_one_fails(
    tmp_path: Path, device: str, names: list[str], wrong: bool
) -> None:
    config, work_dir = runs.configuration(tmp_path, "run", "hanet", width=2, steps=2, size=16, watched=False)
    assert runs.command(config, "cpu", 100).returncode == 0
    noted = json.loads((work_dir / "environment.json").read_text())
    assert noted["launches"][-1]["device"] == "cpu"
    noted["launches"][-1]["device"] = device
    noted["launches"][-1]["hardware"]["cuda_devices"] = names
    (work_dir / "environment.json").write_text(json.dumps(noted))
    assert bool(free.wrong_run(work_dir)) == wrong


def test_free_is_skipped_if_no_gpu_is_free(driver: StandIn) -> None:
    driver.behave("value nvmlDeviceGetComputeMode 2")
    with pytest.raises(Skipped, match=r"no GPU is free: .*prohibited"):
        free.ask_free()


TWO = ["GPU-aaaa1111-0", "GPU-aaaa2222-0"]
FORMS = {one.name: one for one in forms(TWO, {TWO[0]: 3, TWO[1]: 5}, ["MIG-1"])}


def test_forms_of_the_variable() -> None:
    assert {name: one.value for name, one in FORMS.items()} == {
        "empty": "",
        "-1": "-1",
        "MIG name": "MIG-1",
        "index": "3",
        "UUID": TWO[0],
        "beginning of a UUID": "GPU-aaaa1",
        "repeated": f"{TWO[0]},{TWO[0]}",
        "beyond the last": "3,92",
        "reordered": "5,3",
    }
    assert [one.name for one in forms([], {}, [])] == ["empty", "-1"]
    assert "reordered" not in {one.name for one in forms(TWO[:1], {TWO[0]: 0}, [])}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_right_devices_pass_in_each_form(name: str) -> None:
    expected = FORMS[name].expected
    used = ["MIG-1"] if expected is None else expected
    watched = TWO[:1] if expected is None else expected
    parts = {TWO[0]: ["MIG-1"]} if expected is None else {}
    assert wrong_devices(FORMS[name], Seen(watched, used, parts, ALLOCATED_BYTES if used else None)) == []


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("empty", Seen(TWO, [])),
        ("empty", Seen(TWO, TWO, {}, ALLOCATED_BYTES)),
        ("index", Seen(TWO[1:], TWO[:1], {}, ALLOCATED_BYTES)),
        ("index", Seen(TWO[1:], TWO[1:], {}, ALLOCATED_BYTES)),
        ("reordered", Seen(TWO, TWO[::-1], {}, ALLOCATED_BYTES)),
        ("UUID", Seen(TWO[:1], TWO[:1], {}, 10)),
        ("MIG name", Seen(TWO[1:], ["MIG-1"], {TWO[1]: ["MIG-2"]})),
        ("MIG name", Seen(TWO[:1], [])),
    ],
)
def test_wrong_devices_fail(name: str, seen: Seen) -> None:
    assert wrong_devices(FORMS[name], seen) != []
