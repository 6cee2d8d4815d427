"""Which GPUs count as free, and which never do."""

import dataclasses
from typing import Any

import pytest

from pylon.monitor import Absence, MonitorSettingError, find_free_gpus
from pylon.monitor.cli.free import few_line
from pylon.monitor.fleet.free import gpus_not_free, unknown_servers, why_not_free
from tests.monitor.statuses import GIB, cpu, gpu, gpus, process, seen, snapshot


def test_idle_gpu_is_free() -> None:
    found = find_free_gpus(snapshot(one=gpus(gpu())))
    assert [(one.server, [sample.uuid for sample in one.gpus]) for one in found] == [("one", ["GPU-0"])]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"processes": (process(),)}, "in use by alice"),
        ({"processes": (process(of_run=None),)}, "in use by alice"),
        ({"processes": (), "processes_left_out": 3}, "in use"),
        ({"processes": None}, "not known who uses it"),
        ({"mig_enabled": True}, "divided"),
        ({"compute_mode": "prohibited"}, "compute mode"),
        ({"processes": None, "absent": {"processes": Absence.DENIED}}, "(denied)"),
        ({"memory_used_bytes": None, "absent": {"memory_used_bytes": Absence.UNSUPPORTED}}, "shares"),
        ({"memory_used_bytes": None}, "not known"),
        ({"memory_total_bytes": None}, "not known"),
        ({"memory_used_bytes": 60 * GIB, "processes": (process(of_run=True),)}, "not enough"),
        ({"memory_used_bytes": 2 * GIB}, "cannot be seen"),
        ({"index": None}, "not known"),
    ],
)
def test_gpu_is_not_free(fields: dict[str, Any], reason: str) -> None:
    sample = dataclasses.replace(gpu(), **fields)
    assert reason in str(why_not_free(sample, 24 * GIB))
    assert find_free_gpus(snapshot(one=gpus(sample)), memory_bytes=24 * GIB) == []


def test_job_without_gpus_has_a_place_on_every_server_that_answers() -> None:
    now = snapshot(busy=gpus(gpu(processes=(process(),))), idle=gpus(gpu()), none=gpus())
    cpus = {**now.cpu, "gone": seen(None), "late": seen(cpu(), age_s=100)}
    now = dataclasses.replace(now, cpu=cpus)
    found = find_free_gpus(now, gpus=0)
    assert [one.server for one in found] == ["busy", "none", "idle"], "free GPUs are left to others"
    assert found[0].visible_devices(0) == ""
    asked = dict.fromkeys(("busy", "gone", "late", "new"), "")
    assert unknown_servers(now, asked, gpus=0) == ["gone", "late", "new"]


@pytest.mark.parametrize("of_whom", [process(of_run=True), process(compute=False)])
def test_own_run_and_graphics_do_not_take_a_gpu(of_whom: Any) -> None:
    assert why_not_free(gpu(used_gib=3, processes=(of_whom,)), 24 * GIB) is None


def test_job_gets_all_its_gpus_on_one_server_and_the_tightest_fit_first() -> None:
    busy = {"processes": (process(),)}
    seen_now = snapshot(
        large=gpus(*(gpu(number) for number in range(8))),
        split=gpus(gpu(0), gpu(1, **busy)),
        fitting=gpus(gpu(0, used_gib=0.9), gpu(1, **busy), gpu(2, used_gib=0.1)),
    )
    found = find_free_gpus(seen_now, gpus=2, memory_bytes=24 * GIB)
    assert [one.server for one in found] == ["fitting", "large"]
    assert found[0].visible_devices(2) == "GPU-2,GPU-0"


@pytest.mark.parametrize(
    "observation",
    [
        seen(gpus(gpu()), age_s=10.0),
        seen(None),
        seen(gpus(gpu(), absence=Absence.HUNG)),
        seen(gpus(absence=Absence.STARTING)),
    ],
)
def test_what_is_not_known_now_is_never_free(observation: Any) -> None:
    known = dataclasses.replace(snapshot(one=gpus()), gpu={"one": observation})
    assert find_free_gpus(known) == []
    assert unknown_servers(known, {"one": "one"}) == ["one"]


UNIFIED = {
    "memory_used_bytes": None,
    "memory_total_bytes": None,
    "absent": {"memory_used_bytes": Absence.UNSUPPORTED},
}


@pytest.mark.parametrize(
    ("fields", "is_free"),
    [
        (UNIFIED, True),
        (UNIFIED | {"utilization_percent": 5.0}, False),
        (UNIFIED | {"utilization_percent": None}, False),
        (UNIFIED | {"processes": (process(),)}, False),
        (UNIFIED | {"absent": {"memory_used_bytes": Absence.DENIED}}, False),
    ],
)
def test_gpu_that_shares_the_machines_memory_is_free_for_a_job_without_a_bound(
    fields: dict[str, Any], is_free: bool
) -> None:
    now = snapshot(one=gpus(gpu(**fields)))
    assert bool(find_free_gpus(now)) is is_free
    assert find_free_gpus(now, memory_bytes=1) == []


def test_each_gpu_that_is_not_free_has_its_reason() -> None:
    shown = snapshot(
        one=gpus(gpu(), gpu(1, processes=(process(),)), gpu(2, processes=None)),
        two=gpus(absence=Absence.UNSUPPORTED, error="nvidia-smi: not found"),
        three=gpus(absence=Absence.HUNG),
    )
    found = gpus_not_free(shown, dict.fromkeys(["one", "two", "three", "four"], ""))
    assert [(one.server, one.gpu and one.gpu.index, one.reason, one.known) for one in found] == [
        ("one", 1, "in use by alice", True),
        ("one", 2, "not known who uses it", False),
        ("two", None, "no GPU (nvidia-smi: not found)", True),
        ("three", None, "GPUs are not known (hung)", False),
        ("four", None, "GPUs are not known (starting)", False),
    ]


def test_a_server_with_too_few_free_gpus_is_named() -> None:
    (found,) = find_free_gpus(snapshot(one=gpus(gpu(), gpu(1))))
    assert few_line(found, 4) == "one: 2 free, expected 4 on one server"


@pytest.mark.parametrize(("wanted", "is_unknown"), [(1, False), (2, True), (3, False)])
def test_a_server_is_unknown_if_gpus_that_are_not_known_would_make_enough(wanted, is_unknown) -> None:
    shown = snapshot(one=gpus(gpu(), gpu(1, processes=None), gpu(2, processes=(process(),))))
    assert (unknown_servers(shown, {"one": "one"}, wanted) == ["one"]) is is_unknown


def test_server_without_gpus_is_known_to_have_none() -> None:
    assert unknown_servers(snapshot(one=gpus(absence=Absence.UNSUPPORTED)), {"one": "one"}) == []
    assert unknown_servers(snapshot(), {"one": "one"}) == ["one"]


def test_gpu_without_a_name_that_cuda_takes_is_named_by_its_number() -> None:
    nameless = dataclasses.replace(gpu(1), uuid="index:1")
    (found,) = find_free_gpus(snapshot(one=gpus(gpu(0, used_gib=0.1), nameless)), gpus=2)
    assert found.visible_devices(2) == "GPU-0,1"


@pytest.mark.parametrize("wrong", [{"gpus": -1}, {"memory_bytes": -1}])
def test_arguments_out_of_range(wrong: dict[str, int]) -> None:
    with pytest.raises(MonitorSettingError):
        find_free_gpus(snapshot(one=gpus(gpu())), **wrong)
