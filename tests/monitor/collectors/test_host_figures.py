"""Arithmetic that local and remote readers share: which devices count, and who is busiest."""

import pytest

from pylon.monitor.collectors.host_figures import (
    CoreTimes,
    Traffic,
    busiest,
    compared,
    counted_cards,
    counted_disks,
    without_paths,
)
from pylon.monitor.status import Absence


@pytest.mark.parametrize(
    ("hardware", "counted"),
    [
        ({"sda": True, "dm-0": False, "vdb": False}, ("sda",)),
        ({"vdb": False, "dm-0": False, "loop0": False}, ("vdb",)),
        ({"sda1": None, "dm-0": False}, ()),
        ({}, ()),
    ],
)
def test_disks_that_pass_their_traffic_on_do_not_count(hardware, counted) -> None:
    assert counted_disks(hardware, hardware.get) == counted


@pytest.mark.parametrize(
    ("hardware", "counted"),
    [
        ({"lo": False, "eth0": True, "docker0": False}, ("eth0",)),
        ({"lo": False, "veth1": False}, ("veth1",)),
        ({"lo": None, "eth0": None}, ("eth0",)),
    ],
)
def test_without_physical_cards_all_but_the_loopback_count(hardware, counted) -> None:
    assert counted_cards(hardware, hardware.get) == counted


@pytest.mark.parametrize(
    ("head", "kept"),
    [((100, 5), {"nvme0n1", "nvme1n1"}), ((0, 0), {"nvme0n1", "nvme1n1", "nvme0c0n1", "nvme0c1n1"})],
)
def test_paths_to_a_disk_count_only_if_the_disk_does_not(head, kept) -> None:
    paths = {"nvme0c0n1": (60, 5), "nvme0c1n1": (40, 0)}
    assert without_paths({"nvme0n1": head, **paths, "nvme1n1": (7, 7)}).keys() == kept


@pytest.mark.parametrize(
    ("busy_s", "idle_s", "percent"),
    [
        (0.01, 0.0, Absence.UNSUPPORTED),  # lxcfs: idle time stands still
        (0.0, 0.0, Absence.UNSUPPORTED),  # gVisor: all counters do
        (1.0, 0.0, 100.0),
        (0.5, 0.5, 50.0),
        (0.2, 0.2, 50.0),  # of a machine that was stopped for a while
        (-1.0, 2.0, Absence.STARTING),
        (90.0, 0.0, Absence.STARTING),
    ],
)
def test_cores_whose_counters_stand_still_or_jump_have_no_figure(busy_s, idle_s, percent) -> None:
    found = compared([CoreTimes(10.0, 20.0)], [CoreTimes(10.0 + busy_s, 20.0 + idle_s)], 1.0)
    assert (found if isinstance(found, Absence) else round(found.total)) == percent


def test_no_device_is_not_no_traffic() -> None:
    assert Traffic().rates(1.0, {}) == (Absence.UNSUPPORTED, Absence.UNSUPPORTED)


def test_busiest_are_half_by_cpu_time_and_the_rest_by_memory() -> None:
    rows = [
        (name, used, held)
        for name, used, held in zip("abcdef", (0, 9, 5, 1, 0, 0), (9, 0, 0, 5, 7, 1), strict=True)
    ]
    named = busiest(rows, lambda row: row[1], lambda row: row[2], 4)
    assert [row[0] for row in named] == ["b", "c", "a", "e"]
    assert [row[0] for row in busiest(rows[:1], lambda row: row[1], lambda row: row[2], 4)] == ["a"]
