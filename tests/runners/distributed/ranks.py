"""Ranks of one run, started as torchrun starts them: a process each, with its environment variables.

Forked from a process that has imported torch already, they begin within a moment; what torchrun itself does
(signals, restarts, the end of the others) is tested with torchrun.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

WITHIN_S = 100.0


@dataclass(frozen=True)
class Ended:
    """How the ranks ended.

    Attributes:
        codes: exit code of each, -N: by signal N.
        said: what each wrote to standard output and error.
    """

    codes: list[int | None]
    said: list[str]


class Ranks:
    """The ranks of a run of `config`, started by the constructor.

    Args:
        count: how many.
        config: the configuration file.
        folder: for what they say.
        arguments: further ones of the command line.
        nodes: machines that they pretend to be on, with as many ranks each.
    """

    def __init__(self, count: int, config: Path, folder: Path, *arguments: str, nodes: int = 1) -> None:
        command = ["--config-filepath", str(config), "--device", "cpu", *arguments]
        variables = variables_of(count, free_port(), nodes)
        self.logs = [folder / f"rank_{rank}.log" for rank in range(count)]
        context = multiprocessing.get_context("fork")
        self.processes = [
            context.Process(
                target=_rank,
                args=(
                    variables[rank],
                    command,
                    self.logs[rank],
                ),
            )
            for rank in range(count)
        ]
        with warnings.catch_warnings():
            # From Python 3.12 on, a fork beside any other thread warns. The ranks take no lock of the test's.
            warnings.filterwarnings("ignore", message=".*fork.*may lead to deadlocks")
            for process in self.processes:
                process.start()

    def signal(self, rank: int, number: signal.Signals) -> None:
        os.kill(self.processes[rank].pid or 0, number)

    def wait_for(self, path: Path) -> None:
        """Wait until a file is there."""
        until = time.monotonic() + WITHIN_S
        while not path.exists():
            if time.monotonic() > until or not any(one.is_alive() for one in self.processes):
                raise TimeoutError(f"{path} did not come; {[log.read_text() for log in self.logs]}")
            time.sleep(0.01)

    def end(self) -> Ended:
        """Wait for all; none is left running."""
        until = time.monotonic() + WITHIN_S
        for process in self.processes:
            process.join(max(0.1, until - time.monotonic()))
        codes = [process.exitcode for process in self.processes]
        for process in self.processes:
            if process.exitcode is None:
                process.kill()
                process.join()
        return Ended(codes, [log.read_text() for log in self.logs])


def variables_of(count: int, port: int, nodes: int = 1) -> list[dict[str, str]]:
    """The environment variables that torchrun gives each rank."""
    return [
        {
            "RANK": str(rank),
            "WORLD_SIZE": str(count),
            "LOCAL_RANK": str(rank % (count // nodes)),
            "LOCAL_WORLD_SIZE": str(count // nodes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "OMP_NUM_THREADS": "1",
        }
        for rank in range(count)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _rank(variables: dict[str, str], command: list[str], log: Path) -> None:
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    # The test runner has put objects of its own there.
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    os.environ |= variables
    # Not above: whoever starts ranks decides on threads before torch is imported.
    import torch

    from main import main

    torch.set_num_threads(1)

    code = main(command)
    os._exit(code)
