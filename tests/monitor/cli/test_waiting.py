"""When `once` and `free` have waited long enough."""

import dataclasses

import pytest

from pylon.monitor import Absence, MonitorHealth, MonitorState, ServerHealth
from pylon.monitor.cli.signals import Signals
from pylon.monitor.cli.waiting import two_readings, wait_for_all
from pylon.monitor.status.failure import Failure
from tests.monitor.statuses import gpu, gpus, seen, snapshot

NOT_YET_LISTED = gpu(processes=None, absent={"processes": Absence.STARTING})
NOT_LISTED = gpu(processes=None, absent={"processes": Absence.DENIED})


@pytest.mark.parametrize(
    ("status", "answered"),
    [
        (gpus(gpu()), True),
        (gpus(absence=Absence.STARTING), False),
        (gpus(gpu(), NOT_YET_LISTED), False),
        (gpus(gpu(), NOT_LISTED), True),
        (gpus(absence=Absence.UNSUPPORTED), True),
        (gpus(absence=Absence.HUNG), True),
    ],
)
def test_gpus_that_have_not_answered_yet_are_waited_for(status, answered) -> None:
    looked_at = two_readings({"one": 0.0})
    now = dataclasses.replace(snapshot(one=gpus()), gpu={"one": seen(status)})
    assert looked_at(now, "one") is answered


@pytest.mark.parametrize(
    ("kind", "waits"),
    [
        ("HostKeyChangedError", False),
        ("MonitorSettingError", False),
        ("NoAddressError", False),
        ("NoNameServerError", False),
        ("RefusedError", False),
        ("NoAlgorithmError", False),
        ("ProtocolError", True),
        ("UnreachableError", True),
        ("KeyError", True),
    ],
)
def test_server_is_waited_for_while_waiting_may_help(kind, waits) -> None:
    health = ServerHealth(consecutive_failures=1, last_error=Failure(kind, "one"))
    looks = []

    class Monitor:
        def latest(self):
            looks.append(1)
            return snapshot()

        def health(self):
            return {"RemoteMonitor-0": MonitorHealth(MonitorState.OK, servers={"one": health})}

    left = wait_for_all(Monitor(), ["one"], 0.2, lambda shown, server: False, Signals())
    assert left == ["one"]
    assert (len(looks) > 1) is waits
