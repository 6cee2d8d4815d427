"""The entry `loggers` is checked before anything is built."""

from pathlib import Path
from typing import Any

import pytest

from pylon.monitor import SystemMonitor
from pylon.runners.config import check_config, debug_config, differences, to_json
from pylon.runners.config.rehearsal import rehearsal_problems
from pylon.runners.errors import ConfigError
from pylon.views.loggers import TensorBoardLogger, WandbLogger
from tests.runners.toy import toy_config
from tests.views.loggers.records import FileLogger

MONITOR = {"class": SystemMonitor, "args": {}}


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in (TensorBoardLogger, WandbLogger):
        monkeypatch.setattr(cls, "LIBRARY", "json")


def node(cls: object, **arguments: Any) -> dict[str, Any]:
    return {"class": cls, "args": arguments}


def config(loggers: object, monitor: object = MONITOR) -> dict[str, Any]:
    return {**toy_config(Path("run")), "monitor": monitor, "loggers": loggers}


@pytest.mark.parametrize(
    "loggers", [None, [], [node(TensorBoardLogger)], [node(WandbLogger, project="p"), node(FileLogger)]]
)
def test_right_entry_is_accepted(loggers: object) -> None:
    check_config(config(loggers), source="x")
    assert rehearsal_problems(config(loggers)) == []


@pytest.mark.parametrize(
    ("loggers", "words"),
    [
        (node(TensorBoardLogger), ["loggers is", "expected a list"]),
        ([TensorBoardLogger], ["loggers.0", "expected {'class': X, 'args': {...}}"]),
        ([node(dict)], ["loggers.0.class", "expected a Logger"]),
        ([node(TensorBoardLogger, dir="x")], ["loggers.0.args.dir", "folder"]),
        ([node(WandbLogger, project=3)], ["loggers.0.args.project", "expected text, or None"]),
        ([node(FileLogger), node(FileLogger)], ["loggers.1.class", "expected each class once"]),
    ],
)
def test_wrong_entry_is_named_with_what_is_expected(loggers: object, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_config(config(loggers), source="x")
    for word in words:
        assert word in str(caught.value)


def test_value_that_the_logger_refuses_is_found_before_the_run() -> None:
    (problem,) = rehearsal_problems(config([node(WandbLogger, mode="never")]))
    assert (problem.key_path, problem.value) == ("loggers.0.args.mode", "'never'")


def test_absent_library_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WandbLogger, "LIBRARY", "no_such_library")
    with pytest.raises(ConfigError, match=r"needs 'no_such_library', .* pip install 'pylon-runner\[wandb\]'"):
        check_config(config([node(WandbLogger)]), source="x")


def test_run_without_a_record_has_nothing_to_send() -> None:
    with pytest.raises(ConfigError, match=r"loggers.*'monitor': None"):
        check_config(config([node(FileLogger)], monitor=None), source="x")


def test_loggers_change_no_number_and_debug_runs_have_none() -> None:
    assert differences(to_json(config([node(FileLogger)])), to_json(config(None))) == []
    assert "loggers" not in debug_config(config([node(FileLogger)]))
