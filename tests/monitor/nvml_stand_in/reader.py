"""A process that holds a collector and reads on request: the driver's library is found at its start only.

Parent and child talk in pickles over pipes. The child's clock stands still until it is moved.
"""

import contextlib
import os
import pickle
import select
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Self

from pylon.monitor.status import GPUStatus

REPOSITORY = Path(__file__).resolve().parents[3]


class Reader:
    """A collector in a process of its own.

    Args:
        environment: of the stand-in.
        collector: arguments of NVMLCollector: visible_devices, window_size, slow_interval_s, ...
        run_pids: the run's processes; None: as GPUMonitor finds them for the calling process.
        table: arguments of ProcessTable; None: this machine's processes, with pids that are the machine's,
            also if the tests run in a container.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        run_pids: set[int] | None = None,
        table: Mapping[str, Any] | None = None,
        **collector: Any,
    ) -> None:
        table = {"shares_machines_pids": True} if table is None else dict(table)
        self._settings = {"run_pids": run_pids, "table": table, "collector": collector}
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment, "PYTHONPATH": str(REPOSITORY)},
        )
        self.ask("begin", self._settings)

    def send(self, request: str, argument: Any = None) -> None:
        """Have something done; see `serve`."""
        assert self.process.stdin is not None
        pickle.dump((request, argument), self.process.stdin)
        self.process.stdin.flush()

    def answer(self, within_s: float = 20.0) -> Any:
        """What the child answers. Raises TimeoutError, and EOFError where it has died."""
        assert self.process.stdout is not None
        ready, _, _ = select.select([self.process.stdout], [], [], within_s)
        if not ready:
            raise TimeoutError
        return pickle.load(self.process.stdout)

    def ask(self, request: str, argument: Any = None) -> Any:
        """Have something done and wait for the answer."""
        self.send(request, argument)
        return self.answer()

    def collect(self, after_s: float = 1.0) -> GPUStatus:
        """The next reading, `after_s` after the one before."""
        status = self.ask("collect", after_s)
        assert isinstance(status, GPUStatus), status
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(timeout=10)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def serve(requests: IO[bytes], answers: IO[bytes]) -> None:
    """The child: a thread reads, as in a worker; the main thread is never in the driver but to close it."""
    import threading

    from pylon.monitor.collectors.nvml.collector import NVMLCollector
    from pylon.monitor.collectors.processes.ids import ProcessTable, RunProcesses

    clock_s = 1000.0
    lock = threading.Lock()

    def reply(answer: object) -> None:
        with lock:
            pickle.dump(answer, answers)
            answers.flush()

    _, settings = pickle.load(requests)
    run_pids = settings["run_pids"]
    collector = NVMLCollector(
        RunProcesses(os.getppid()).owns if run_pids is None else run_pids.__contains__,
        settings["collector"].pop("visible_devices", None),
        settings["collector"].pop("window_size", 5),
        **settings["collector"],
        table=ProcessTable(**settings["table"]),
        clock=lambda: clock_s,
    )
    reply("ready")
    while True:
        try:
            request, argument = pickle.load(requests)
        except EOFError:
            return
        if request == "collect":
            clock_s += argument
            threading.Thread(target=lambda: reply(collector.collect()), daemon=True).start()
        else:
            getattr(collector, request)()
            reply(request)


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
