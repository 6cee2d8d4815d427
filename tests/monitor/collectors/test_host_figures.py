"""Arithmetic that local and remote readers share: which devices count, and who is busiest."""

import pytest

from pylon.monitor.collectors.host_figures import Traffic, busiest, counted_cards, counted_disks
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
