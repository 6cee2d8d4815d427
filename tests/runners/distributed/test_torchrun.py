"""The command as a user gives it to torchrun: what its agent does to the ranks, and what comes of it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.runners.distributed.conftest import Lab
from tests.runners.distributed.ranks import WITHIN_S, free_port
from tests.shutdown.compare_runs import differences

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[3]

# Threads of this process by their names, when its interpreter begins to end.
NOTE_THREADS = """
import atexit, os
from pathlib import Path

def note() -> None:
    names = [path.read_text() for path in sorted(Path("/proc/self/task").glob("*/comm"))]
    Path(config["work_dir"], f"threads_{os.environ['RANK']}").write_text("".join(names))

atexit.register(note)
"""

Torchrun = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def torchrun(lab: Lab) -> Iterator[Torchrun]:
    started: list[subprocess.Popen[str]] = []

    def start(config: Path, *arguments: str, last: Sequence[str] = ()) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "torch.distributed.run", *(arguments or ["--standalone"])]
        count = [] if "--nproc-per-node" in arguments else ["--nproc-per-node", "2"]
        main = [str(REPOSITORY / "main.py"), "--config-filepath", str(config), "--device", "cpu"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
        with (lab.folder / f"torchrun_{len(started)}.log").open("w") as log:
            process = subprocess.Popen(
                [*command, *count, *main, *last],
                cwd=lab.folder,
                env=environment,
                stdout=log,
                stderr=log,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in family:
            one.kill()
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object], what: str) -> None:
    until = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def said(lab: Lab, number: int = 0) -> str:
    return (lab.folder / f"torchrun_{number}.log").read_text()


def state(lab: Lab, name: str) -> str:
    return str(json.loads((lab.directory(name) / "state.json").read_text())["state"])


def test_sigterm_to_torchrun_saves_the_step_and_the_same_command_goes_on(
    lab: Lab, torchrun: Torchrun, whole: Path
) -> None:
    slow = lab.config("stopped", "pause_s=0.3", form="random_config")
    agent = torchrun(slow)
    lines = lab.directory("stopped") / "metrics.jsonl"
    wait_for(lambda: lines.exists() and lines.read_text(), "the first step's line")
    # The agent sends it to each rank's whole process group, loader workers included.
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(WITHIN_S) == 1, "torchrun's own code for ranks that did not end with 0"
    assert state(lab, "stopped") == "preempted", said(lab)
    assert "Stopped by SIGTERM" in said(lab)
    assert lab.run("stopped", 2, "pause_s=0.3", form="random_config").codes == [0, 0]
    assert "resuming after" in (lab.directory("stopped") / "train.log").read_text()
    assert differences(whole, lab.directory("stopped")) == []


def test_torchrun_starts_killed_ranks_again_and_they_end_with_the_same_bits(
    lab: Lab, torchrun: Torchrun, whole: Path
) -> None:
    killed = lab.config("killed", "act='SIGKILL 1 5'", form="random_config")
    agent = torchrun(killed, "--standalone", "--max-restarts", "1", last=["--fresh"])
    assert agent.wait(WITHIN_S) == 0, said(lab)
    assert "A rank of this run is gone" in said(lab)
    assert not (lab.folder / "killed-fresh-1").exists(), "--fresh is for the first launch"
    assert "resuming after 1 finished epochs" in said(lab)
    assert differences(whole, lab.directory("killed")) == []


def test_no_thread_of_a_group_is_left_when_a_finished_rank_exits(lab: Lab, torchrun: Torchrun) -> None:
    path = lab.config("run", "epochs=1")
    path.write_text(f"{path.read_text()}\n{NOTE_THREADS}")
    assert torchrun(path).wait(WITHIN_S) == 0, said(lab)
    for rank in range(2):
        threads = (lab.directory("run") / f"threads_{rank}").read_text().splitlines()
        assert threads == [Path(sys.executable).name[:15]]


def test_ranks_whose_torchrun_is_killed_save_and_end(lab: Lab, torchrun: Torchrun) -> None:
    agent = torchrun(lab.config("run", "pause_s=0.3", form="random_config"))
    lines = lab.directory("run") / "metrics.jsonl"
    wait_for(lambda: lines.exists() and lines.read_text(), "the first step's line")
    ranks = psutil.Process(agent.pid).children(recursive=True)
    agent.kill()
    _, alive = psutil.wait_procs(ranks, timeout=WITHIN_S)
    assert alive == []
    assert state(lab, "run") == "preempted"
    assert list(lab.directory("run").glob("epoch_*/*.pt"))


def test_two_machines_are_two_torchruns_with_one_endpoint(lab: Lab, torchrun: Torchrun, whole: Path) -> None:
    config = lab.config("both", "", form="random_config")
    port = free_port()
    agents = [
        torchrun(
            config, "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
            "--rdzv-id", "two", "--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1",
        )
        for _ in range(2)
    ]  # fmt: skip
    assert [agent.wait(WITHIN_S) for agent in agents] == [0, 0], said(lab) + said(lab, 1)
    assert differences(whole, lab.directory("both")) == []
