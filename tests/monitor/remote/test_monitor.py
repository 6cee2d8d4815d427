"""Many servers behind one monitor: how they are spread, what crosses the processes, what a user sees."""

import pickle
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import Absence, BaseMonitor, MonitorSettingError, RemoteMonitor, SystemMonitor
from pylon.monitor.process.reports import LatestReports
from pylon.monitor.remote.assignment import remote_monitors
from pylon.monitor.remote.view import RemoteView
from pylon.monitor.status.failure import Failure
from pylon.monitor.status.health import ServerReport
from tests.faults.harness import REPOSITORY, wait_until
from tests.monitor.statuses import remote


def test_servers_are_spread_evenly_over_as_few_processes_as_may_be() -> None:
    servers = {"localhost": "localhost"} | {f"gpu{number}": f"gpu{number}" for number in range(130)}
    shards = remote_monitors(servers, 64, {})
    assert [shard.name for shard in shards] == ["RemoteMonitor-0", "RemoteMonitor-1", "RemoteMonitor-2"]
    held = [shard._get_servers_list() for shard in shards]
    assert [len(one) for one in held] == [44, 43, 43]
    assert sorted(one for shard in held for one in shard) == sorted(servers.keys() - {"localhost"})


def test_local_monitors_run_only_where_localhost_is_listed() -> None:
    assert set(SystemMonitor(["localhost", "gpu1"]).health()) == {
        *("CPUMonitor", "GPUMonitor", "RemoteMonitor-0", "manager")
    }
    assert set(SystemMonitor(["gpu1"]).health()) == {"RemoteMonitor-0", "manager"}
    assert set(SystemMonitor(gpu=False).health()) == {"CPUMonitor", "manager"}


def test_arguments_keep_their_places() -> None:
    monitor = SystemMonitor(("localhost",), 1.0, 5.0, 10, 2.0, True, 10.0, None, (), 64, None, "strict")
    assert monitor.latest().sequence == 0


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"servers": ["gpu 1", "ok", "-o"]}, r"servers: 'gpu 1'.*\n.*'-o'"),
        ({"servers": ["gpu1", "gpu1"]}, "'gpu1' is listed twice"),
        ({"servers": []}, "there is none"),
        ({"servers": "gpu1"}, "expected a list"),
        ({"servers": {"here": "localhost"}}, "localhost goes by its own name"),
        ({"servers": {"localhost": "gpu1"}}, "expected another name"),
        ({"servers": [3]}, "servers: 3"),
        ({"hosts_per_process": 0}, "hosts_per_process: 0"),
        ({"hosts_per_process": 251}, "hosts_per_process: 251"),
        ({"host_keys": "no"}, "host_keys: 'no', expected 'strict' or 'accept-new'"),
    ],
)
def test_arguments_out_of_range_are_named(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(MonitorSettingError, match=expected):
        SystemMonitor(**settings)


def test_process_is_given_more_time_than_a_reading() -> None:
    spec = RemoteMonitor(["gpu1"], timeout_s=5.0, name="RemoteMonitor-7").spec()
    assert spec.name == "RemoteMonitor-7"
    assert spec.timeout_s > 5.0
    pickle.dumps(spec)


def test_readings_of_many_servers_are_spread_over_the_interval() -> None:
    monitor = RemoteMonitor([f"gpu{number}" for number in range(10)], interval_s=5.0)
    spreads = [monitor._spread_s(server) for server in monitor._get_servers_list()]
    assert spreads == pytest.approx([0.5 * number for number in range(10)])


def test_status_of_a_server_is_seen_as_two_and_worked_out_once() -> None:
    view = RemoteView(["a", "b"], 3.0, gpu=True)
    report = ServerReport(time.monotonic(), status=remote())
    first = view.take(
        [{"a": report}, {"b": ServerReport(last_error=Failure("X", "no"), consecutive_failures=1)}]
    )
    assert first.cpu["a"].current is not None
    assert first.gpu["a"].current is not None
    assert first.cpu["b"].absence is not None
    second = view.take([{"a": report}, {"b": ServerReport(time.monotonic(), status=remote())}])
    assert second.cpu["a"] is first.cpu["a"]
    assert second.cpu["b"].current is not None
    assert RemoteView(["a"], 3.0, gpu=False).take([{"a": report}]).gpu == {}


def test_machine_under_two_names_is_noticed_and_a_clone_is_not_taken_for_one() -> None:
    reports = {
        server: ServerReport(time.monotonic(), status=remote(name, key))
        for server, name, key in [("a", "x", "k"), ("b", "x", "k"), ("c", "clone", "k"), ("d", "x", "other")]
    }
    view = RemoteView(["a", "b", "c", "d"], 3.0, gpu=True)
    assert view.take([dict(reversed(reports.items()))]).same_machine == {"b": "a"}


class Counted:
    """Counts how often it is unpickled."""

    unpickled = 0

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return _counted, ()


def _counted() -> Counted:
    Counted.unpickled += 1
    return Counted()


def test_only_the_servers_that_have_changed_are_decoded() -> None:
    newest = LatestReports()
    content = pickle.dumps(Counted())
    reports = {f"s{number}": ServerReport(float(number + 1), status=content) for number in range(50)}
    Counted.unpickled = 0
    newest.take({"m": pickle.dumps(reports)})
    assert Counted.unpickled == 50
    kept = newest.reports["m"]["s7"].status
    reports["s3"] = ServerReport(1000.0, status=content)
    reports["s4"] = ServerReport(5.0, status=content, busy_since_s=6.0)
    newest.take({"m": pickle.dumps(reports)})
    assert Counted.unpickled == 51
    assert newest.reports["m"]["s7"].status is kept
    assert newest.reports["m"]["s4"].busy_since_s == 6.0


class Large(BaseMonitor[bytes]):
    """Reports that no pipe takes at once."""

    def _get_servers_list(self) -> list[str]:
        return [f"s{number}" for number in range(20)]

    def _update_single_server(self, server: str) -> bytes:
        return time.monotonic_ns().to_bytes(8, "big") * 25_000


@pytest.mark.slow
def test_reports_of_megabytes_arrive_once_per_interval() -> None:
    with Large(interval_s=0.5) as monitor:
        wait_until(lambda: len(monitor.latest()) == 20, 10, "the first report")
        until_s = time.monotonic() + 4
        ages = []
        while time.monotonic() < until_s:
            time.sleep(0.1)
            ages.append(max(_ages(monitor.latest())))
        assert sorted(ages)[len(ages) // 2] < 1.5, ages
        assert monitor.health().restarts == 0


def _ages(seen: Mapping[str, Any]) -> list[float]:
    return [one.age_s or 0.0 for one in seen.values()]


def test_training_process_that_watches_a_fleet_loads_no_ssh_library() -> None:
    code = (
        "import sys; from pylon.monitor import SystemMonitor; m = SystemMonitor(['localhost', 'a@gpu1']);"
        " sys.exit(any(name in sys.modules for name in ('paramiko', 'cryptography', 'psutil')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False)
    assert done.returncode == 0


def test_ssh_config_that_is_not_there_is_this_servers_trouble_and_is_reported(tmp_path: Path) -> None:
    with SystemMonitor(["gpu1"], interval_s=0.2, ssh_config=tmp_path / "none") as monitor:
        wait_until(lambda: _errors(monitor), 20, "an error")
        assert "none" in _errors(monitor)[0]
        assert monitor.health()["RemoteMonitor-0"].restarts == 0


def _errors(monitor: SystemMonitor) -> list[str]:
    servers = monitor.health()["RemoteMonitor-0"].servers
    return [str(one.last_error) for one in servers.values() if one.last_error is not None]


def test_server_that_is_being_connected_is_starting_and_not_hung() -> None:
    view = RemoteView(["a"], 3.0, gpu=True)
    assert (
        view.take([{"a": ServerReport(busy_since_s=time.monotonic())}]).cpu["a"].absence is Absence.STARTING
    )
    failed = ServerReport(consecutive_failures=1, last_error=Failure("X", "no"))
    assert view.take([{"a": failed}]).cpu["a"].absence is Absence.UNREACHABLE
