import faulthandler
import os
import signal
from pathlib import Path

import pytest

from pylon.runners.distributed import AgreedStop, World
from pylon.runners.errors import RunStopped
from pylon.runners.signals import StopFlag


@pytest.mark.parametrize(
    "number",
    [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2, signal.SIGXCPU],
)
def test_first_signal_only_sets_the_flag_and_the_next_meeting_ends_the_loop(number: signal.Signals) -> None:
    with StopFlag().installed() as stop:
        os.kill(os.getpid(), number)
        assert stop.signalled
        agreed = AgreedStop(stop, World())
        assert not agreed.agreed
        with pytest.raises(RunStopped, match=number.name):
            agreed.raise_if_signalled()


def test_second_ctrl_c_ends_at_once() -> None:
    with StopFlag().installed():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_repeated_sigterm_does_not_interrupt_the_orderly_end() -> None:
    with StopFlag().installed() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal_name == "SIGTERM"


def test_former_handlers_come_back() -> None:
    former = signal.getsignal(signal.SIGTERM)
    with StopFlag().installed():
        assert signal.getsignal(signal.SIGTERM) is not former
    assert signal.getsignal(signal.SIGTERM) is former


def test_signal_by_which_the_user_looks_at_stacks_stays_his(tmp_path: Path) -> None:
    with (tmp_path / "stacks").open("w+") as stacks:
        faulthandler.register(signal.SIGUSR2, file=stacks, all_threads=False)
        try:
            with StopFlag().installed() as stop:
                os.kill(os.getpid(), signal.SIGUSR2)
                assert not stop.signalled
            os.kill(os.getpid(), signal.SIGUSR2)
        finally:
            faulthandler.unregister(signal.SIGUSR2)
        stacks.seek(0)
        assert stacks.read().count("most recent call first") == 2


def test_run_under_nohup_outlives_its_terminal() -> None:
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopFlag().installed() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.signalled
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, former)
