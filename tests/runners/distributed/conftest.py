from pathlib import Path

import pytest

from tests.runners.distributed.ranks import Ended, Ranks


class Lab:
    """Runs the steady training in `folder`, on any number of ranks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def config(self, name: str, changes: str = "", form: str = "steady_config") -> Path:
        path = self.folder / f"{name}_config.py"
        path.write_text(
            "from tests.runners.distributed.steady import *\n"
            f"config = {form}({str(self.directory(name))!r}, {changes})\n"
        )
        return path

    def directory(self, name: str) -> Path:
        return self.folder / name

    def run(self, name: str, ranks: int, changes: str = "", *arguments: str, **form: str) -> Ended:
        return Ranks(ranks, self.config(name, changes, **form), self.folder, *arguments).end()


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the random training on two ranks that nothing has interrupted."""
    return _whole(tmp_path_factory.mktemp("whole"), 2)


@pytest.fixture(scope="session")
def whole_of_four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same on four."""
    return _whole(tmp_path_factory.mktemp("whole_of_four"), 4)


def _whole(folder: Path, ranks: int) -> Path:
    lab = Lab(folder)
    ended = lab.run("whole", ranks, form="random_config")
    assert ended.codes == [0] * ranks, ended.said
    return lab.directory("whole")


def stepping(**args: object) -> str:
    """The change of a configuration that gives the runner these arguments of Stepping."""
    return (
        "runner={'class': SupervisedSingleTaskTrainer, 'args': {'score': 'f1_changed', 'log_every_steps': 2, "
        f"'stepping': {{'class': Stepping, 'args': {args!r}}}}}}}"
    )
