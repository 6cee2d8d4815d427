"""Runs of main.py in processes of their own that do not load torch each time.

A server has loaded what every run loads, which takes most of a short run's processor time, and forks for
each run. The fork does what `python main.py` does: it runs the file as `__main__`, and its exit code,
signals, tracebacks and streams are those of a process of its own. What differs: the modules are there
already. So a test of the start itself, of terminals or of signals before the first step starts Python anew.
"""

import atexit
import contextlib
import functools
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# A request is a line of JSON on standard input. The answers, a line each: the process id, then how it ended.
_SERVER = """
import gc, json, os, runpy, signal, sys
import torch, torch._dynamo, torch._inductor.config
import matplotlib.backends.backend_agg, matplotlib.figure
import pylon.runners, pylon.runners.launch.command
gc.collect()
gc.freeze()
answers = os.fdopen(os.dup(1), "w", buffering=1)
for line in sys.stdin:
    request = json.loads(line)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        break
    print(child, file=answers)
    print(os.waitpid(child, 0)[1], file=answers)
else:
    os._exit(0)
answers.close()
os.setsid()
for number, path in enumerate((os.devnull, request["stdout"], request["stderr"])):
    opened = os.open(path, os.O_RDWR)
    os.dup2(opened, number)
    os.close(opened)
os.environ.clear()
os.environ.update(request["environment"])
os.chdir(request["folder"])
sys.argv = request["command"]
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Starter:
    """The server, and what asks it.

    Args:
        environment: of the server; torch reads some of it when it is loaded.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER], cwd=REPOSITORY, env=dict(environment),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0,
        )  # fmt: skip
        self._read = b""
        atexit.register(self.close)

    def run(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float,
        folder: Path = REPOSITORY,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a Python file with arguments to its end.

        Args:
            command: the file, and its arguments.
            environment: all of it.
            timeout_s: for the whole run.
            folder: the working folder.

        Raises:
            subprocess.TimeoutExpired: it took longer, and was killed.
        """
        with tempfile.TemporaryDirectory() as written:
            streams = {name: str(Path(written, name)) for name in ("stdout", "stderr")}
            for path in streams.values():
                Path(path).touch()
            request = {"command": list(command), "environment": dict(environment), "folder": str(folder)}
            status = self._status(json.dumps(request | streams), timeout_s)
            out, err = (Path(path).read_text() for path in streams.values())
        return subprocess.CompletedProcess(list(command), os.waitstatus_to_exitcode(status), out, err)

    def _status(self, request: str, timeout_s: float) -> int:
        assert self._server.stdin is not None
        self._server.stdin.write(request.encode() + b"\n")
        pid = self._answer(None)
        assert pid is not None
        status = self._answer(timeout_s)
        if status is None:
            # It may end in this moment; its status comes either way.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._answer(None)
            raise subprocess.TimeoutExpired(request, timeout_s)
        return status

    def _answer(self, timeout_s: float | None) -> int | None:
        """The next line of the server as a number; None if it does not come in time."""
        assert self._server.stdout is not None
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        # Both lines of a short run may arrive at once: what is read beyond the first is kept here.
        while b"\n" not in self._read:
            left_s = None if until_s is None else max(0.0, until_s - time.monotonic())
            if not select.select([self._server.stdout], [], [], left_s)[0]:
                return None
            piece = os.read(self._server.stdout.fileno(), 4096)
            assert piece, "the server has ended"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return int(line)

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(10)


@functools.cache
def starter(environment: tuple[tuple[str, str], ...]) -> Starter:
    """The server of this test process."""
    return Starter(dict(environment))
