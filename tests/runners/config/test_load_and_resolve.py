import json
import os
import random
from pathlib import Path

import pytest
import torch

from pylon.runners.config import (
    apply_overrides,
    build,
    check_config,
    debug_config,
    differences,
    load_config,
    to_json,
)
from pylon.runners.config.build import BuildError
from pylon.runners.config.overrides import parse_value
from pylon.runners.errors import ConfigError
from pylon.runners.seeds import derive_seed, resolve_seeds
from tests.runners.toy import ToyModel, toy_config


def write(folder: Path, text: str) -> Path:
    path = folder / "run_0.py"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("config = {\n'a': 1,\n", ["line", "SyntaxError"]),
        ("x = 1\nimport no_such_module\n", ["line 2", "no_such_module"]),
        ("x = 1\n\nconfig = {'a': 1 / 0}\n", ["line 3", "ZeroDivisionError"]),
        ("import sys\nconfig = {}\nsys.exit(0)\n", ["1 problem", "line 3", "SystemExit: 0; expected"]),
        ("config = {}\nraise SystemExit('no GPU here')\n", ["line 2", "SystemExit: no GPU here"]),
        ("cfg = {}\n", ["a dict named `config`"]),
        ("config = [1]\n", ["list", "a dict named `config`"]),
    ],
)
def test_file_that_does_not_load_is_named_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(write(tmp_path, text))
    for word in ["run_0.py", *words]:
        assert word in str(raised.value)


def test_ctrl_c_in_a_file_is_no_problem_of_it(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        load_config(write(tmp_path, "raise KeyboardInterrupt\n"))


def test_file_of_a_class_that_calls_exit_is_no_end(tmp_path: Path) -> None:
    path = write(tmp_path, "raise SystemExit(0)\n")
    with pytest.raises(ConfigError, match=r"cannot be found \(SystemExit: 0\)"):
        apply_overrides({"model": {"class": ToyModel, "args": {}}}, [f"model.class={path}:Net"], "toy.py")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent\.py.*existing file"):
        load_config(tmp_path / "absent.py")


def test_loading_leaves_no_trace(tmp_path: Path) -> None:
    path = write(tmp_path, "import random, torch\nconfig = {'a': 1}\n")
    before = (random.getstate(), torch.get_rng_state().tolist(), Path.cwd())
    load_config(path)
    assert (random.getstate(), torch.get_rng_state().tolist(), Path.cwd()) == before


def test_entries_that_share_a_dict_are_changed_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path, "shared = {'size': 1}\nconfig = {'train': {'args': shared}, 'val': {'args': shared}}\n"
    )
    changed = apply_overrides(load_config(path), ["train.args.size=2"], source=path)
    assert changed == {"train": {"args": {"size": 2}}, "val": {"args": {"size": 1}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [("3", 3), ("1e-3", 1e-3), ("true", True), ("null", None), ("None", None), ("[1, 2]", [1, 2]),
     ("(1,)", (1,)), ("cpu", "cpu"), ("'3'", "3"), ("a b=c", "a b=c")],
)  # fmt: skip
def test_override_values(text: str, value: object) -> None:
    assert parse_value(text) == value


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epochs", "expected KEY.PATH=VALUE"),
        ("optimizr.args.lr=1", "did you mean 'optimizer'?"),
        ("train_dataset.args.transforms.args.transforms.7.args.x=1", "expected a position from 0 to 0"),
        ("model.class=tests.runners.toy:NoModel", "cannot be found"),
        ("epochs.first=1", "has no 'first'"),
    ],
)
def test_override_that_cannot_be_done_says_why(override: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        apply_overrides(toy_config(Path("run")), [override], source="run_0.py")
    assert words in str(raised.value)


def test_override_adds_an_argument_and_replaces_a_class() -> None:
    changed = apply_overrides(
        toy_config(Path("run")),
        [
            "optimizer.args.nesterov=true",
            "optimizer.class=torch.optim:SGD",
            "model.class=tests.runners.toy:ToyCriterion",
        ],
        source="x",
    )
    assert changed["optimizer"]["args"]["nesterov"] is True
    assert changed["model"]["class"].__name__ == "ToyCriterion"


def test_resolved_config_comes_back_the_same(tmp_path: Path) -> None:
    config = toy_config(tmp_path / "run")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(to_json(config)))
    again = load_config(path)
    assert differences(to_json(config), to_json(again)) == []
    assert again["model"]["class"] is ToyModel
    assert resolve_seeds(again) == resolve_seeds(config)


def test_class_that_is_gone_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"model": {"class": "tests.runners.toy:Gone", "args": {}}}')
    with pytest.raises(ConfigError, match=r"model\.class.*tests\.runners\.toy:Gone"):
        load_config(path)


def test_class_of_a_config_file_comes_back(tmp_path: Path) -> None:
    path = write(tmp_path, "class Mine:\n    pass\nconfig = {'model': {'class': Mine, 'args': {}}}\n")
    resolved = tmp_path / "config.json"
    resolved.write_text(json.dumps(to_json(load_config(path))))
    assert load_config(resolved)["model"]["class"].__name__ == "Mine"


def test_constructor_that_refuses_is_named_with_its_key() -> None:
    node = {"class": torch.optim.SGD, "args": {"lr": -1.0}}
    with pytest.raises(BuildError, match=r"optimizer.*SGD.*Invalid learning rate"):
        build(node, key_path="optimizer", params=ToyModel().parameters())


class Refusing:
    """Refuses whatever it is given, in the words it is given."""

    def __init__(self, words: str, rate: float = 0.0) -> None:
        raise ValueError(words)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("rate: 2, expected 0 to 1, or None", "x.args.rate is 2: expected 0 to 1, or None"),
        ("rate: [1, 2], expected one", "x.args.rate is [1, 2]: expected one"),
        ("rate.args.low: 2, expected less", "x.args.rate.args.low is 2: expected less"),
        (
            "speed: 2, expected 0 to 1",
            "x is 'Refusing': expected arguments that Refusing accepts: speed: 2",
        ),
        ("rate: 2 is too much", "x is 'Refusing': expected arguments that Refusing accepts: rate: 2 is too"),
        ("rate and words: 2, expected 1", "x is 'Refusing': expected arguments that Refusing accepts: rate "),
    ],
)
def test_argument_that_a_constructor_names_in_its_refusal_is_the_problem(words: str, problem: str) -> None:
    with pytest.raises(BuildError) as raised:
        build({"class": Refusing, "args": {"words": words, "rate": 2}}, key_path="x")
    assert str(raised.value.problems[0]).startswith(problem)


def test_building_does_not_change_the_configuration() -> None:
    config = toy_config(Path("run"))
    before = json.dumps(to_json(config))
    build(config["train_dataloader"], dataset=build(config["train_dataset"]))
    assert json.dumps(to_json(config)) == before


@pytest.mark.parametrize("work_dir", ["logs/a/b", "/results/run", "run/", "a.debug", "../shared/run"])
def test_debug_directory_is_never_the_real_one_nor_inside_it(work_dir: str) -> None:
    debug = Path(debug_config(toy_config(Path("x")) | {"work_dir": work_dir})["work_dir"]).resolve()
    real = Path(work_dir).resolve()
    assert debug.parent == real.parent
    assert debug != real


def test_debug_cuts_listed_seeds_with_the_epochs() -> None:
    config = toy_config(Path("x"), epochs=5, train_seeds=[1, 2, 3, 4, 5], val_seeds=[1, 2, 3, 4, 5])
    short = debug_config(config)
    assert (short["epochs"], short["train_seeds"], len(config["train_seeds"])) == (3, [1, 2, 3], 5)


def test_derived_seeds_are_always_the_same_and_do_not_depend_on_the_number_of_epochs() -> None:
    assert [derive_seed(0, "init"), derive_seed(0, "train", 0), derive_seed(1, "train", 7)] == PINNED
    short, long = (resolve_seeds(toy_config(Path("x"), epochs=epochs)) for epochs in (2, 9))
    assert long.train[:2] == short.train
    everything = [short.init, short.test, *long.train, *long.val]
    assert len(set(everything)) == len(everything)


PINNED = [1773167294, 746405699, 1694192112]


def test_recorded_configuration_gives_the_same_values_again(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "import numpy as np\nfrom pathlib import Path\n"
        "from tests.runners.toy import *\n"
        "config = toy_config('run')\n"
        "config['optimizer']['args']['lr'] = 0.1 * np.sqrt(0.5)\n"
        "config['scheduler']['args']['step_size'] = np.int64(2)\n"
        "config['criterion']['args'] = {'what': np.str_('nan'), 'at_call': int(2**60)}\n"
        "config['val_dataloader']['args'] = {'batch_size': np.int32(4), 'drop_last': np.bool_(False)}\n"
        "config['test_dataset']['args']['indices'] = list(np.arange(3))\n",
    )
    config = load_config(path)
    check_config(config, source=path)
    (tmp_path / "config.json").write_text(json.dumps(to_json(config)))
    again = load_config(tmp_path / "config.json")
    del config["seed"]
    assert {key: again[key] for key in config} == config
    rate = config["optimizer"]["args"]["lr"]
    assert type(rate) is float, "a NumPy number would compute in another way than the recorded one"
    assert rate == 0.1 * 0.5**0.5


def test_file_that_changes_within_a_second_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "quick.py"
    for number in range(3):
        path.write_text(f"config = {{'epochs': {number}}}\n")
        os.utime(path, (1_000_000_000, 1_000_000_000))
        assert load_config(path) == {"epochs": number}
    assert not (tmp_path / "__pycache__").exists()
