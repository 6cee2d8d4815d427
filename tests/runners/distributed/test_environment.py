"""What the environment says of the ranks, and what ranks say of their end."""

from datetime import timedelta

import pytest
from torch.distributed import HashStore

from main import main
from pylon.runners.distributed import process_group
from pylon.runners.distributed.reports import Reports
from pylon.runners.errors import PeerLostError, TrainingError
from tests.runners.distributed.conftest import Lab
from tests.runners.distributed.ranks import free_port

pytestmark = pytest.mark.slow

TWO_RANKS = {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}


def run(lab: Lab, monkeypatch: pytest.MonkeyPatch, **variables: str) -> int:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return main(["--config-filepath", str(lab.config("run")), "--device", "cpu"])


@pytest.mark.parametrize(
    ("name", "value"), [("WORLD_SIZE", "two"), ("WORLD_SIZE", "0"), ("RANK", "2"), ("LOCAL_RANK", "-1")]
)
def test_variable_that_cannot_be_is_named_at_once(
    lab: Lab,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
) -> None:
    assert run(lab, monkeypatch, **(TWO_RANKS | {name: value})) == 2
    assert f"{name} is {value!r}: expected" in capsys.readouterr().err


def test_rank_whose_torchrun_has_died_before_they_met_does_not_wait_for_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert timedelta(seconds=10) < process_group._AGENT_WITHIN < timedelta(minutes=5)
    monkeypatch.setattr(process_group, "_AGENT_WITHIN", timedelta(seconds=1))
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0"}
    assert run(lab, monkeypatch, **TWO_RANKS, **agent, MASTER_PORT=str(free_port())) == 1
    assert "cannot reach each other" in capsys.readouterr().err


def test_rank_that_has_but_noticed_anothers_end_is_no_cause_of_it() -> None:
    store = HashStore()
    first, second, third = (Reports(store, rank, 3) for rank in range(3))
    second.publish(PeerLostError("A rank of this run is gone"))
    assert first.of([1, 2], causes=True) == {}
    third.publish(TrainingError("out of memory"))
    assert {rank: one["message"] for rank, one in first.of([1, 2], causes=True).items()} == {
        2: "out of memory"
    }
    assert set(first.of([1, 2])) == {1, 2}


@pytest.mark.parametrize(
    "content", [b"[1]", b"\x80\x04.", b"{", b'{"message": 3}', b"[" * 100_000, b'"' + b"x" * 2**22 + b'"']
)
def test_report_that_is_none_is_named_and_ends_nothing(content: bytes) -> None:
    store = HashStore()
    store.set("ended/1", content)
    assert Reports(store, 0, 2).of([1])[1]["message"] == "its report cannot be read"


def test_report_cannot_control_a_terminal() -> None:
    store = HashStore()
    Reports(store, 1, 2).publish(TrainingError("two\nlines \x1b[2J"))
    assert Reports(store, 0, 2).of([1])[1]["message"] == "two\nlines ?[2J"
