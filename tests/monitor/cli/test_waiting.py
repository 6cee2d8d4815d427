"""When `once` and `free` have waited long enough."""

import dataclasses

import pytest

from pylon.monitor import Absence
from pylon.monitor.cli.waiting import two_readings
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
