"""A secret in a configuration is in `config.json`, which its owner alone can read, and nowhere else."""

import json
import shutil
from pathlib import Path

import pytest

from pylon.runners.run_directory.directory import RunDirectory
from pylon.storage import write_json
from tests.runners.conftest import Toy

FIRST, SECOND = "hf_FIRST_secret", "hf_SECOND_secret"
TRACKED = """
class Tracked(ToyCriterion):
    def __init__(self, token: str, fails: bool = False) -> None:
        super().__init__()
        if token == "hf_refused":
            raise ValueError(f"bad token {token}")
        self.token, self.fails = token, fails

    def forward(self, *arguments):
        if self.fails:
            import warnings
            warnings.warn(f"about to use {self.token}")
            raise RuntimeError(f"the tracker refuses {self.token}")
        return super().forward(*arguments)

config["criterion"] = {"class": Tracked, "args": {"token": "absent"}}
"""


@pytest.fixture
def tracked(toy: Toy) -> Path:
    path = toy.write("epochs=1")
    path.write_text(path.read_text() + TRACKED)
    return path


def written(toy: Toy) -> dict[str, str]:
    """Every text that a run has written, by file name."""
    return {
        path.name: path.read_text() for path in toy.work_dir.iterdir() if path.suffix in {".json", ".log"}
    }


def test_secret_is_nowhere_but_in_the_configuration_which_others_cannot_read(toy: Toy, tracked: Path) -> None:
    ended = toy.launch_file(tracked, "--set", f"criterion.args.token={FIRST}")
    assert ended.returncode == 0, ended.stderr
    files = written(toy)
    assert [name for name, text in files.items() if FIRST in text] == ["config.json"]
    assert (toy.work_dir / "config.json").stat().st_mode & 0o777 == 0o600
    assert FIRST not in ended.stdout + ended.stderr
    command = json.loads(files["environment.json"])["launches"][0]["command"]
    assert command[-2:] == ["--set", "criterion.args.token=***"]
    assert files["train.log"].count("config.json: holds the secrets of criterion.args.token.") == 1
    assert "environment variable" in files["train.log"]


def test_recorded_configuration_gives_the_same_run_and_another_secret_is_refused_without_showing_it(
    toy: Toy, tracked: Path
) -> None:
    assert toy.launch_file(tracked, f"--set=criterion.args.token={FIRST}").returncode == 0
    same = toy.launch_file(toy.work_dir / "config.json")
    assert same.returncode == 0, same.stderr
    assert "this run is finished" in same.stdout
    other = toy.launch_file(tracked, "--set", f"criterion.args.token={SECOND}")
    assert other.returncode == 4
    assert "criterion.args.token: was '***', now '***', which is another one" in other.stderr
    assert FIRST not in other.stderr
    assert SECOND not in other.stderr


@pytest.mark.parametrize(("options", "code"), [(["--no-rehearsal"], 1), ([], 2)])
def test_error_and_traceback_with_a_secret_in_them_show_none(
    toy: Toy, tracked: Path, options: list[str], code: int
) -> None:
    failing = ["--set", f"criterion.args.token={FIRST}", "criterion.args.fails=true"]
    ended = toy.launch_file(tracked, *failing, *options)
    assert ended.returncode == code
    assert "the tracker refuses ***" in ended.stderr
    files = written(toy)
    assert [name for name, text in files.items() if FIRST in text] == ["config.json"]
    assert FIRST not in ended.stdout + ended.stderr
    assert "the tracker refuses ***" in files["state.json"]
    assert "RuntimeError: the tracker refuses ***" in files["train.log"]
    assert "about to use ***" in files["train.log"]


def test_error_of_data_that_holds_a_secret_shows_none(toy: Toy, tracked: Path) -> None:
    tracked.write_text(
        tracked.read_text() + "class Remote(ToyDataset):\n    def _load_datapoint(self, annotation):\n"
        f"        raise OSError('refused for {FIRST}')\n"
        "config['train_dataset']['class'] = Remote\n"
    )
    ended = toy.launch_file(tracked, "--set", f"criterion.args.token={FIRST}")
    assert ended.returncode == 3
    assert "of Remote 'train' cannot be read: OSError: refused for ***" in ended.stderr
    assert FIRST not in ended.stdout + ended.stderr + (toy.work_dir / "state.json").read_text()


@pytest.mark.parametrize(
    ("override", "secret", "words"),
    [
        ("criterion.args.token=['hf_list']", "hf_list", "criterion.args.token is ***: expected str"),
        ("criterion.args.tokn={'password': 'hf_in_a_dict'}", "hf_in_a_dict", "is {'password': '***'}"),
        ("criterion.args.token=null", "hf_", "criterion.args.token is None: expected str"),
        ("criterion.args.token.x=1", "absent", "criterion.args.token is '***' and has no 'x' in it"),
        ("criterion.args.token=hf_refused", "hf_refused", "bad token ***"),
    ],
)
def test_problem_of_a_configuration_shows_no_secret(
    toy: Toy, tracked: Path, override: str, secret: str, words: str
) -> None:
    ended = toy.launch_file(tracked, "--set", override)
    assert ended.returncode == 2
    assert words in ended.stderr
    assert secret not in ended.stderr


def test_launches_that_an_earlier_version_noted_are_masked(toy: Toy) -> None:
    toy.work_dir.mkdir()
    former = {"command": ["python", "main.py", "--set", f"a.token={FIRST}"]}
    (toy.work_dir / "environment.json").write_text(json.dumps({"launches": [former, {"command": 3}]}))
    toy.run("epochs=1")
    launches = json.loads((toy.work_dir / "environment.json").read_text())["launches"]
    assert launches[0]["command"][-1] == "a.token=***"
    assert launches[1] == {"command": 3}


def test_configuration_without_secrets_stays_readable_for_colleagues(toy: Toy) -> None:
    toy.run("epochs=1")
    plain = (toy.work_dir / "state.json").stat().st_mode
    assert (toy.work_dir / "config.json").stat().st_mode == plain
    assert "holds the secrets" not in (toy.work_dir / "train.log").read_text()


def test_directory_that_is_made_again_keeps_its_configuration_private(tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").opened() as directory:
        write_json(directory.config, {}, private=True)
        directory.write_state("running")
        directory.ensure()
        shutil.rmtree(directory.root)
        directory.ensure()
        assert directory.config.stat().st_mode & 0o777 == 0o600
        assert directory.state.stat().st_mode & 0o044
