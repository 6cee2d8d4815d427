"""A prepared process ends as one of its own does: exit code, signal, traceback, streams, environment."""

import subprocess
from pathlib import Path

import pytest

from tests.runners.conftest import ENVIRONMENT, started
from tests.runners.starts import starter

pytestmark = pytest.mark.slow

PROGRAM = """
import os, signal, sys
what = sys.argv[1]
print("out", what, os.environ.get("EXTRA"), __name__)
print("err", file=sys.stderr)
if what == "raises":
    raise RuntimeError("training failed")
if what == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if what == "hangs":
    signal.pause()
sys.exit(3)
"""


@pytest.fixture
def program(tmp_path: Path) -> str:
    (tmp_path / "program.py").write_text(PROGRAM)
    return str(tmp_path / "program.py")


def test_exit_code_streams_and_environment_are_its_own(program: str) -> None:
    done = started([program, "exits"], {"EXTRA": "more"})
    assert (done.returncode, done.stdout, done.stderr) == (3, "out exits more __main__\n", "err\n")
    assert started([program, "exits"]).stdout == "out exits None __main__\n", "nothing is kept for the next"


def test_exception_is_exit_code_1_with_its_traceback(program: str) -> None:
    done = started([program, "raises"])
    assert done.returncode == 1
    assert done.stderr.endswith("RuntimeError: training failed\n")


def test_signal_is_a_negative_exit_code_and_the_next_run_is_not_hit(program: str) -> None:
    assert started([program, "killed"]).returncode == -9
    assert started([program, "exits"]).returncode == 3


def test_one_that_hangs_is_killed(program: str) -> None:
    with pytest.raises(subprocess.TimeoutExpired):
        starter(tuple(ENVIRONMENT.items())).run([program, "hangs"], ENVIRONMENT, timeout_s=2)
    assert started([program, "exits"]).returncode == 3
