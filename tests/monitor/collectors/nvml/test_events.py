"""Xid errors as the driver reports them: each once, with its GPU, and none that the driver cannot report."""

import pytest

from pylon.monitor import GPUStatus
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader


def seen(status: GPUStatus) -> list[tuple[int, str | None]]:
    return [(one.xid, one.uuid and one.uuid[:12]) for one in status.xid_events]


def test_each_error_is_seen_once_with_its_gpu(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("gpus 3", "xid 13 1 0")
    with Reader(stand_in.environment) as reader:
        assert reader.collect().xid_events == (), "what was reported before is not known"
        stand_in.behave("gpus 3", "xid 13 1 0", "xid 79 2 2", "xid 48 3 0")
        first = reader.collect()
        assert seen(first) == [(79, "GPU-00000002"), (48, "GPU-00000000")]
        assert {one.monotonic_s for one in first.xid_events} == {first.monotonic_s}
        later = reader.collect()
        assert later.xid_events == first.xid_events, "they stay, with the time of the reading that found them"
        # After a restart of the driver it reports to the new session, and what is known stays.
        stand_in.behave("gpus 3", "xid 48 3 0", "generation 1")
        assert seen(reader.collect(10.0)) == seen(first)
        stand_in.behave("gpus 3", "xid 48 3 0", "xid 31 4 1", "generation 1")
        assert seen(reader.collect()) == [*seen(first), (31, "GPU-00000001")]


def test_storm_of_errors_is_read_in_parts(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave(*(f"xid {100 + number} {number}" for number in range(1, 31)), stand_in.logging)
        stand_in.forget_calls()
        assert len(reader.collect().xid_events) == 8
        assert stand_in.calls()["nvmlEventSetWait_v2"] == 8
        for _ in range(3):
            status = reader.collect()
        assert [one.xid for one in status.xid_events] == list(range(115, 131)), "the newest 16 are kept"


@pytest.mark.parametrize("call", ["nvmlEventSetCreate", "nvmlDeviceRegisterEvents", "nvmlEventSetWait_v2"])
def test_driver_that_cannot_report_them_costs_no_reading_and_is_not_asked_again(tmp_path, call):
    stand_in = StandIn(tmp_path)
    behaviour = ("gpus 2", f"unsupported {call}", stand_in.logging)
    stand_in.behave(*behaviour)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.forget_calls()
        stand_in.behave(*behaviour, "xid 79 1")
        status = reader.collect()
        assert status.absence is None
        assert all(gpu.power_w is not None for gpu in status.gpus)
        assert status.xid_events == ()
        reader.collect()
        assert not {name for name in stand_in.calls() if "Event" in name and "Clocks" not in name}


def test_set_is_given_back_when_the_driver_is_closed(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        reader.ask("close")
        assert stand_in.calls()["nvmlEventSetFree"] == 1
        stand_in.behave("xid 79 1", stand_in.logging)
        assert reader.collect().xid_events == ()
