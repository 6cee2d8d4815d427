"""The host's figures: recorded counters, and what is missing on machines that do not tell."""

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pylon.monitor.collectors.host import HostReader
from pylon.monitor.collectors.host_figures import CoreTimes, Utilisation, compared
from pylon.monitor.status import Absence


@pytest.fixture
def host(tmp_path: Path) -> HostReader:
    return HostReader(tmp_path)


def cores(*pairs: tuple[float, float]) -> list[CoreTimes]:
    return [CoreTimes(*pair) for pair in pairs]


def test_total_is_of_all_cores_together() -> None:
    found = compared(cores((10, 10), (20, 20)), cores((11, 10), (20, 21)), 1.0)
    assert found == Utilisation(50.0, (100.0, 0.0))


def test_cores_that_came_or_went_give_no_figure() -> None:
    assert compared(cores((1, 1), (1, 1)), cores((2, 2)), 1.0) is Absence.STARTING
    assert compared(cores((1, 1)), cores((2, 2), (1, 1)), 1.0) is Absence.STARTING


def test_core_whose_counters_went_back_has_none_and_is_left_out() -> None:
    found = compared(cores((10, 10), (500, 10)), cores((10.5, 10.5), (1, 1)), 1.0)
    assert found == Utilisation(50.0, (50.0, None))


def test_idle_time_that_steps_back_is_not_negative() -> None:
    assert compared(cores((10, 10)), cores((11, 9.99)), 1.0) == Utilisation(100.0, (100.0,))


def test_core_that_took_anothers_place_has_none() -> None:
    # Core 1 went offline and core 3, with another history, came: the list is as long as before.
    found = compared(cores((10, 10), (10, 10)), cores((10.5, 10.5), (4000, 90000)), 1.0)
    assert found == Utilisation(50.0, (50.0, None))


def test_clock_that_stands_still_gives_no_figure() -> None:
    assert compared(cores((10, 10)), cores((10, 10)), 1.0) is Absence.UNSUPPORTED


def times(user: float, idle: float, **more: float) -> SimpleNamespace:
    return SimpleNamespace(user=user, idle=idle, **more)


def proc_stat(root: Path, *rows: str) -> None:
    (root / "stat").write_text("cpu  0 0 0 0 0 0 0 0 0 0\n" + "\n".join(rows) + "\nintr 0\nctxt 0\n")


def test_recorded_proc_stat(tmp_path, monkeypatch, host) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    #                     user nice system idle iowait irq softirq steal guest guest_nice, in 10 ms
    proc_stat(tmp_path, "cpu0 100 0 100 1000 50 0 0 0 0 0", "cpu1 100 0 100 1000 50 0 0 0 0 0")
    assert host.utilisation(0.0) is Absence.STARTING
    assert host.core_count == 2
    # Core 0: 20 user of which 10 for a guest, 5 system, 50 idle, 25 waiting. Core 1: nothing but steal.
    proc_stat(tmp_path, "cpu0 120 0 105 1050 75 0 0 0 10 0", "cpu1 100 0 100 1000 50 0 0 100 0 0")
    found = host.utilisation(1.0)
    assert isinstance(found, Utilisation)
    assert found.cores == (pytest.approx(25.0), pytest.approx(100.0))
    assert found.total == pytest.approx(62.5)


def test_readings_in_quick_succession_keep_the_last_figure(tmp_path, monkeypatch, host) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path))
    proc_stat(tmp_path, "cpu0 100 0 0 1000 0 0 0 0 0 0")
    host.utilisation(0.0)
    proc_stat(tmp_path, "cpu0 150 0 0 1050 0 0 0 0 0 0")
    first = host.utilisation(1.0)
    proc_stat(tmp_path, "cpu0 151 0 0 1050 0 0 0 0 0 0")
    assert host.utilisation(1.01) == first
    assert host.utilisation(1.04) == first


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (FileNotFoundError(2, "no such file"), Absence.UNSUPPORTED),
        (NotImplementedError("neither diskstats nor /sys/block"), Absence.UNSUPPORTED),
        (PermissionError(13, "no"), Absence.DENIED),
        (ValueError("not sure how to interpret line"), Absence.UNREACHABLE),
        (AssertionError("no colon"), Absence.UNREACHABLE),
        (KeyError(b"MemTotal:"), Absence.UNREACHABLE),
        (OSError(5, "input/output error"), Absence.UNREACHABLE),
    ],
)
def test_what_cannot_be_read_gives_the_reason(monkeypatch, host, error, wanted) -> None:
    def failing(**_):
        raise error

    for name in (
        "cpu_times",
        "disk_io_counters",
        "net_io_counters",
        "getloadavg",
    ):
        monkeypatch.setattr(psutil, name, failing)
    assert host.utilisation(0.0) is wanted
    assert host.load() is wanted
    assert (host.disk_rates(0.0), host.net_rates(0.0)) == ((wanted, wanted),) * 2
    assert host.core_count is None


class Devices:
    """Disks and cards whose counters a test sets."""

    def __init__(self, sys_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root = sys_root
        self.disks: dict[str, tuple[int, int]] = {}
        self.cards: dict[str, tuple[int, int]] = {}
        monkeypatch.setattr(psutil, "disk_io_counters", self._disk_counters)
        monkeypatch.setattr(psutil, "net_io_counters", self._net_counters)

    def there_is(self, *paths: str) -> None:
        for path in paths:
            (self._root / path).mkdir(parents=True)

    def _disk_counters(self, *, perdisk: bool, nowrap: bool):
        return {
            name: SimpleNamespace(read_bytes=one, write_bytes=two) for name, (one, two) in self.disks.items()
        }

    def _net_counters(self, *, pernic: bool, nowrap: bool):
        return {
            name: SimpleNamespace(bytes_recv=one, bytes_sent=two) for name, (one, two) in self.cards.items()
        }


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Devices:
    return Devices(tmp_path, monkeypatch)


def test_volumes_on_a_disk_are_not_counted_again(host, devices) -> None:
    devices.there_is("block/sda/device", "block/dm-0", "block/loop0", "block/zram0")
    devices.disks = {"sda": (0, 0), "sda1": (0, 0), "dm-0": (0, 0), "loop0": (0, 0), "zram0": (0, 0)}
    host.disk_rates(0.0)
    devices.disks = dict.fromkeys(devices.disks, (4000, 2000))
    assert host.disk_rates(2.0) == (2000.0, 1000.0)


def test_bridges_over_a_card_are_not_counted_again(host, devices) -> None:
    devices.there_is("class/net/eth0/device", "class/net/docker0", "class/net/lo")
    devices.cards = {"eth0": (0, 0), "docker0": (0, 0), "lo": (0, 0)}
    host.net_rates(0.0)
    devices.cards = dict.fromkeys(devices.cards, (300, 100))
    assert host.net_rates(1.0) == (300.0, 100.0)


def test_card_behind_another_is_not_counted_again(host, devices) -> None:
    devices.there_is("class/net/eth0/device", "class/net/enP1/device", "class/net/enP1/master/device")
    devices.cards = {"eth0": (0, 0), "enP1": (0, 0)}
    host.net_rates(0.0)
    devices.cards = dict.fromkeys(devices.cards, (300, 100))
    assert host.net_rates(1.0) == (300.0, 100.0)


def test_paths_to_a_disk_are_not_counted_again(host, devices) -> None:
    devices.there_is("block/nvme0n1/device", "block/nvme0c0n1/device")
    devices.disks = {"nvme0n1": (1, 1), "nvme0c0n1": (1, 1)}
    host.disk_rates(0.0)
    devices.disks = dict.fromkeys(devices.disks, (4001, 2001))
    assert host.disk_rates(1.0) == (4000.0, 2000.0)


def test_containers_interface_counts_where_there_is_no_card(host, devices) -> None:
    devices.cards = {"eth0": (0, 0), "lo": (0, 0)}
    host.net_rates(0.0)
    devices.cards = {"eth0": (50, 60), "lo": (999, 999)}
    assert host.net_rates(1.0) == (50.0, 60.0)


def test_no_devices_is_not_no_traffic(host, devices) -> None:
    devices.disks = {"sda": (1, 1)}  # of a machine whose /sys cannot be seen
    devices.cards = {"lo": (1, 1)}
    for now_s in (0.0, 1.0):
        assert host.disk_rates(now_s) == (Absence.UNSUPPORTED, Absence.UNSUPPORTED)
        assert host.net_rates(now_s) == (Absence.UNSUPPORTED, Absence.UNSUPPORTED)


def test_counters_that_went_back_give_no_negative_rate(host, devices) -> None:
    devices.there_is("block/sda/device")
    devices.disks = {"sda": (5000, 5000)}
    assert host.disk_rates(0.0) == (Absence.STARTING, Absence.STARTING)
    devices.disks = {"sda": (100, 6000)}
    assert host.disk_rates(1.0) == (Absence.STARTING, 1000.0)
    devices.disks = {"sda": (300, 6000)}
    assert host.disk_rates(2.0) == (200.0, 0.0)


def test_disk_that_is_plugged_in_makes_no_jump(host, devices) -> None:
    devices.there_is("block/sda/device", "block/sdb/device")
    devices.disks = {"sda": (0, 0)}
    host.disk_rates(0.0)
    devices.disks = {"sda": (10, 10), "sdb": (10**9, 10**9)}
    assert host.disk_rates(1.0) == (10.0, 10.0)
    devices.disks = {"sda": (20, 20)}
    assert host.disk_rates(2.0) == (10.0, 10.0)


def test_this_machine() -> None:
    host = HostReader()
    memory, swap, load = host.memory(), host.swap(), host.load()
    assert not isinstance(memory, Absence)
    assert memory.used + memory.available == memory.total > 0
    assert isinstance(swap, Absence) or 0 <= swap.used <= swap.total
    assert not isinstance(load, Absence)
    assert len(load) == 3
