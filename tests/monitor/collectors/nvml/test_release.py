"""Letting go of the driver, and what a call that does not return may hold: its own thread alone."""

import signal
import time

import pytest

from pylon.monitor.status import Absence, GPUStatus
from tests.monitor.nvml_stand_in import StandIn
from tests.monitor.nvml_stand_in.reader import Reader

pytestmark = pytest.mark.slow

INIT = "nvmlInitWithFlags"


def test_close_lets_go_of_the_driver_and_the_next_reading_opens_it(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment) as reader:
        reader.ask("close")
        assert not stand_in.calls(), "there was nothing to close"
        reader.collect()
        reader.ask("close")
        reader.ask("close")
        assert stand_in.calls()["nvmlShutdown"] == 1
        assert reader.collect(0.1).gpus[0].power_w == 250.5


def test_released_driver_stays_closed_until_it_is_resumed(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment) as reader:
        assert not reader.collect().released
        reader.ask("release")
        for _ in range(3):
            status = reader.collect()
            assert (status.released, status.gpus, status.absence) == (True, (), Absence.UNREACHABLE)
        assert stand_in.calls()["nvmlShutdown"] == 1
        assert stand_in.calls()[INIT] == 1
        reader.ask("resume")
        status = reader.collect(0.1)
        assert (status.absence, status.gpus[0].power_w) == (None, 250.5)
        assert not status.released


def test_release_before_the_first_reading_opens_no_driver(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave(stand_in.logging)
    with Reader(stand_in.environment) as reader:
        reader.ask("release")
        assert reader.collect().released
        assert not stand_in.calls()


@pytest.mark.parametrize("request_", ["release", "close"])
def test_hung_call_does_not_hold_who_lets_go_of_the_driver(tmp_path, request_):
    stand_in = StandIn(tmp_path)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("hang nvmlDeviceGetPowerUsage", stand_in.logging)
        reader.send("collect", 1.0)
        with pytest.raises(TimeoutError):
            reader.answer(within_s=0.5)
        assert stand_in.calls()["nvmlDeviceGetPowerUsage"] == 1, "the reading hangs"
        begun_s = time.monotonic()
        assert reader.ask(request_) == request_
        assert time.monotonic() - begun_s < 1.0
        assert stand_in.calls()["nvmlShutdown"] == 0


@pytest.mark.parametrize("request_", ["release", "close"])
def test_slow_reading_lets_go_of_the_driver_at_its_end(tmp_path, request_):
    stand_in = StandIn(tmp_path)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave("slow nvmlDeviceGetPowerUsage 500", stand_in.logging)
        reader.send("collect", 1.0)
        reader.send(request_)
        answers = [reader.answer(), reader.answer()]
        assert answers[0] == request_, "it did not wait for the reading"
        assert isinstance(answers[1], GPUStatus)
        assert answers[1].gpus[0].power_w == 250.5
        assert stand_in.calls()["nvmlShutdown"] == 1


@pytest.mark.parametrize(("word", "number"), [("crash", signal.SIGABRT), ("segv", signal.SIGSEGV)])
def test_stand_in_really_kills_its_process(tmp_path, word, number):
    stand_in = StandIn(tmp_path)
    with Reader(stand_in.environment) as reader:
        reader.collect()
        stand_in.behave(f"{word} nvmlDeviceGetPowerUsage")
        reader.send("collect", 1.0)
        with pytest.raises(EOFError):
            reader.answer()
        assert reader.process.wait(timeout=10) == -number


def test_stand_in_hangs_from_the_call_that_is_named(tmp_path):
    stand_in = StandIn(tmp_path)
    stand_in.behave("hang nvmlDeviceGetFanSpeed 2")
    with Reader(stand_in.environment, slow_interval_s=1.0) as reader:
        reader.collect()
        reader.send("collect", 1.0)
        with pytest.raises(TimeoutError):
            reader.answer(within_s=0.5)
        assert reader.process.poll() is None
