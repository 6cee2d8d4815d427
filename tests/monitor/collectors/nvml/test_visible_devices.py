"""CUDA_VISIBLE_DEVICES as CUDA reads it; each case is a rule of the documents named in the module."""

import pytest

from pylon.monitor.collectors.nvml.visible_devices import hides_all, names_instances, visible_uuids

A, B, C = "GPU-aa11", "GPU-ab22", "GPU-cc33"
GPUS = [A, B, C]
INSTANCES = {"MIG-1111": A, "MIG-1122": A, "MIG-2222": C}


@pytest.mark.parametrize(
    ("setting", "visible"),
    [
        (None, GPUS),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("void", []),
        ("0", [A]),
        ("2,0", [C, A]),
        (" 2 , 0 ", [C, A]),
        ("0,2,-1,1", [A, C]),
        ("0,7,1", [A]),
        ("7", []),
        ("1gpu,2", [B, C]),
        ("0,,1", [A]),
        (C, [C]),
        ("GPU-c", [C]),
        ("GPU-cc33,GPU-ab", [C, B]),
        ("GPU-zz,GPU-cc33", []),
    ],
)
def test_entries_name_gpus_in_their_order(setting, visible):
    assert visible_uuids(setting, GPUS) == visible


def test_beginning_that_two_gpus_share_names_none():
    assert visible_uuids("GPU-a", GPUS) == []
    assert visible_uuids("GPU-cc33,GPU-a,GPU-ab22", GPUS) == [C]


@pytest.mark.parametrize("setting", ["0,0", "0,1,0", f"{A},{A}", f"{A},GPU-aa", "MIG-1111,MIG-1111"])
def test_entry_that_comes_twice_leaves_no_device(setting):
    assert visible_uuids(setting, GPUS, INSTANCES) == []


@pytest.mark.parametrize("setting", [f"0,{B}", "0,MIG-1111", f"0,-1,{B}"])
def test_first_entry_settles_the_kind_of_all(setting):
    assert visible_uuids(setting, GPUS, INSTANCES) == [A]


@pytest.mark.parametrize(
    ("setting", "visible"),
    [
        ("MIG-2222", [C]),
        ("MIG-22", [C]),
        ("MIG-1111,MIG-1122", [A]),
        ("MIG-2222,MIG-1111", [C, A]),
        ("MIG-9999", []),
        (f"MIG-{B}/1/0", [B]),
        (f"MIG-{B}/1/0,MIG-{B}/2/0", [B]),
        ("MIG-2222,0", [C]),
    ],
)
def test_instances_show_the_gpu_they_are_part_of(setting, visible):
    assert visible_uuids(setting, GPUS, INSTANCES) == visible


@pytest.mark.parametrize(
    ("setting", "hidden"),
    [
        *((setting, True) for setting in ("", "-1", "-1,0", "NoDevFiles")),
        *((setting, False) for setting in (None, "0", "7", "GPU-zz", "MIG-zz")),
    ],
)
def test_settings_that_hide_all_gpus_of_any_machine(setting, hidden):
    assert hides_all(setting) is hidden


@pytest.mark.parametrize(
    ("setting", "named"), [(None, False), ("0", False), (f"MIG-{A}/1/0", False), ("MIG-1111", True)]
)
def test_instances_are_looked_up_only_where_their_names_do_not_show_the_gpu(setting, named):
    assert names_instances(setting) is named
