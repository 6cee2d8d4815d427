"""Arguments of version 0.1: the error in a configuration, and a run directory that holds them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pylon.runners import Checkpointing, SupervisedSingleTaskTrainer
from pylon.runners.config import apply_overrides, check_config, load_config, to_json
from pylon.runners.errors import ConfigError, RunStopped
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import failing, let_it_go_on, numbers
from tests.runners.toy import toy_config

FORMER = {"checkpoint_every_steps": 2, "checkpoint_every_minutes": 60.0, "asynchronous_checkpoints": True}


def with_arguments(**arguments: Any) -> dict[str, Any]:
    runner = {"class": SupervisedSingleTaskTrainer, "args": {"score": "f1_changed", **arguments}}
    return toy_config(Path("run"), runner=runner)


@pytest.mark.parametrize(
    ("name", "inside"),
    [
        ("checkpoint_every_steps", "every_steps"),
        ("checkpoint_every_minutes", "every_minutes"),
        ("asynchronous_checkpoints", "asynchronous"),
    ],
)
def test_former_argument_ends_with_the_one_to_write_in_its_place(name: str, inside: str) -> None:
    with pytest.raises(ConfigError) as raised:
        check_config(with_arguments(**{name: FORMER[name]}), source="x")
    (problem,) = raised.value.problems
    assert str(problem) == (
        f"runner.args.{name} is {FORMER[name]!r}: was replaced by checkpointing: give 'checkpointing': "
        f"{{'class': Checkpointing, 'args': {{'{inside}': {FORMER[name]!r}}}}}; "
        "Checkpointing is in pylon.runners"
    )


def test_recorded_former_arguments_become_the_present_ones(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_json(with_arguments(**FORMER))))
    arguments = load_config(path)["runner"]["args"]
    saving = {"every_steps": 2, "every_minutes": 60.0, "asynchronous": True}
    assert arguments == {"score": "f1_changed", "checkpointing": {"class": Checkpointing, "args": saving}}


@pytest.mark.slow
@pytest.mark.parametrize("again", ["its config.json", "the file, renamed"])
def test_run_directory_with_former_arguments_resumes_to_the_same_bits(
    make_toy: Callable[[str], Toy], again: str
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    whole.run()
    with pytest.raises(RunStopped):
        stopped.run(failing(5, "SIGTERM"))
    let_it_go_on(stopped)
    text = (whole.work_dir / "config.json").read_text()
    config = json.loads(text.replace(str(whole.work_dir), str(stopped.work_dir)))
    config["runner"]["args"] |= FORMER
    recorded = stopped.work_dir / "config.json"
    recorded.write_text(json.dumps(config))
    if again == "its config.json":
        ended = stopped.launch_file(recorded)
        assert ended.returncode == 0, ended.stderr
    else:
        stopped.run(
            "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', "
            "'log_every_steps': 2, 'checkpointing': {'class': Checkpointing, 'args': {'every_steps': 2}}}}"
        )
    assert "and 2 steps" in (stopped.work_dir / "train.log").read_text()
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)


def test_override_gives_a_class_by_its_name() -> None:
    value = "{'class': 'pylon.runners:Checkpointing', 'args': {'every_steps': 5}}"
    changed = apply_overrides(with_arguments(), [f"runner.args.checkpointing={value}"], source="x")
    assert changed["runner"]["args"]["checkpointing"]["class"] is Checkpointing
    check_config(changed, source="x")


def test_override_with_a_class_that_is_not_there_names_it() -> None:
    value = "{'class': 'pylon.runners:Chekpointing', 'args': {}}"
    with pytest.raises(
        ConfigError, match=r"checkpointing\.class is 'pylon\.runners:Chekpointing': cannot be"
    ):
        apply_overrides(with_arguments(), [f"runner.args.checkpointing={value}"], source="x")
