"""What can be read after a death: `python -m benchmarks.recorder.deaths` (some minutes).

One small program dies in ten ways, each time watched by another tool. What the tool's own files report
afterwards is quoted and graded. A peer that is not installed is left out (`pip install -e '.[bench]'`).
"""

import argparse
import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.monitors.tables import table
from benchmarks.recorder.death_readers import READERS, Answer, grade
from benchmarks.surroundings import machine, versions
from pylon.recorder.history import HistoryError, open_history
from tests.shutdown.deaths import can_limit_memory, memory_group

_PROGRAM = Path(__file__).with_name("death_run.py")
_REPOSITORY = Path(__file__).parents[2]
_ROOM_BYTES = 64 << 20
_WITHIN_S = 6.0
_PEERS = {"W&B offline": "wandb", "con/duct": "con_duct", "MLflow": "mlflow", "Lightning": "lightning"}


@dataclass(frozen=True)
class Death:
    """One way to die.

    Attributes:
        title: in the table.
        cause: pattern of what names it.
        well: whether the run ended as it should.
        by: the signal that another process sends; None: it dies by itself.
    """

    title: str
    cause: str
    well: bool = False
    by: signal.Signals | None = None


DEATHS = {
    "clean": Death("clean end", "", well=True),
    "exception": Death("uncaught exception", "ValueError|exception"),
    "exit 3": Death("`sys.exit(3)`", r"code\W+3\b"),
    "sigterm": Death("SIGTERM", r"SIGTERM|code\W+(-15|143)", by=signal.SIGTERM),
    "sigkill": Death("SIGKILL by another process", r"SIGKILL|code\W+(-9|137)", by=signal.SIGKILL),
    "memory": Death("killed at the group's memory limit", r"memory|oom"),
    "segfault": Death("segmentation fault", r"segmentation|SIGSEGV|code\W+(-11|139)"),
    "abort": Death("`os.abort()`", r"abort|SIGABRT|code\W+(-6|134)"),
    "_exit 0": Death("`os._exit(0)` in the middle", r"before it had come to its end"),
    "hang": Death("hang, then SIGKILL", r"hung|hang|no step", by=signal.SIGKILL),
}


@dataclass(frozen=True)
class Seen:
    """After a death.

    Attributes:
        answer: of the tool's files.
        grade: of `death_readers.grade`.
        after_s: from the death until the files had it; None if they have nothing.
    """

    answer: Answer
    grade: str
    after_s: float | None


def watch(tool: str, death: str, folder: Path) -> Seen:
    """Have the program die under a tool, and read the tool's files."""
    chosen = DEATHS[death]
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(memory_group()) if death == "memory" else None
        command = [*_before(tool, folder), sys.executable, str(_PROGRAM), tool, str(folder), death]
        if group is not None:
            command = ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh", *command]
        environment = {**os.environ, "PYTHONPATH": str(_REPOSITORY), "OMP_NUM_THREADS": "1"}
        output = stack.enter_context((folder / "output").open("w"))
        started = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=folder)
        stack.callback(started.kill)
        _await(folder / "ready", started)
        pid = int((folder / "ready").read_text())
        if tool == "pylon run":
            _await_record(folder)
        if group is not None:
            used = int((group / "memory.usage_in_bytes").read_text())
            (group / "memory.limit_in_bytes").write_text(str(used + _ROOM_BYTES))
        (folder / "go").touch()
        _await(folder / "dying", started)
        if chosen.by is not None:
            time.sleep(3.0 if death == "hang" else 0.3)
            os.kill(pid, chosen.by)
        died_s = _died(pid)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(_WITHIN_S)
        return _seen(tool, chosen, folder, died_s)


def _before(tool: str, folder: Path) -> list[str]:
    if tool == "pylon run":
        return [sys.executable, "-m", "pylon", "run", "--quiet", "--record", str(folder / "record"), "--"]
    if tool == "con/duct":
        # By default it removes its files if a command fails within 3 s.
        return [_duct() or "", "run", "-q", "--fail-time", "0", "-p", f"{folder}/duct/", "--"]
    return []


def _duct() -> str | None:
    return shutil.which("con-duct", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")


def _await(file: Path, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + 120
    while not file.exists():
        if process.poll() is not None or time.monotonic() > until_s:
            raise RuntimeError(f"no {file.name}: {(file.parent / 'output').read_text()[-2000:]}")
        time.sleep(0.02)


def _await_record(folder: Path) -> None:
    """The others are there before the program is ready; `pylon run` begins its record meanwhile."""
    until_s = time.monotonic() + 120
    while time.monotonic() < until_s:
        with contextlib.suppress(HistoryError), open_history(folder / "record") as history:
            if history.launches():
                return
        time.sleep(0.05)
    raise RuntimeError(f"no record: {(folder / 'output').read_text()[-2000:]}")


def _died(pid: int) -> float:
    """Unix time at which the process has ended (a zombie has)."""
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return time.time()
        except OSError:
            return time.time()
        time.sleep(0.005)


def _seen(tool: str, death: Death, folder: Path, died_s: float) -> Seen:
    answer = Answer()
    while True:
        looked_s = time.time()
        answer = READERS[tool](folder)
        if answer.state in {"well", "badly"}:
            break
        if looked_s - died_s > _WITHIN_S:
            break
        time.sleep(0.05)
    after_s = None
    if answer.file is not None and answer.state != "running":
        after_s = max(0.0, _changed_s(answer.file) - died_s)
    return Seen(answer, grade(answer, well=death.well, cause=death.cause), after_s)


def _changed_s(file: Path) -> float:
    """When it, or its journal, was last written to."""
    return max(one.stat().st_mtime for one in file.parent.glob(f"{file.name}*"))


def _prepare(tool: str, folder: Path, store: Path) -> None:
    folder.mkdir(parents=True)
    if tool == "MLflow":
        shutil.copy(store, folder / "mlflow.db")


def _absent(tool: str) -> str:
    module = _PEERS.get(tool)
    if module is None or (importlib.util.find_spec(module) and (tool != "con/duct" or _duct())):
        return ""
    return f"{tool} is left out: {module} is not installed"


def _mlflow_store(file: Path) -> None:
    """An empty store, so that not each run makes its tables."""
    make = "import sys, mlflow; mlflow.set_tracking_uri(sys.argv[1]); mlflow.search_runs()"
    subprocess.run([sys.executable, "-c", make, f"sqlite:///{file}"], check=True, capture_output=True)


def _cell(seen: Seen) -> str:
    quote = seen.answer.quote.replace("|", "\\|")
    quote = quote if len(quote) <= 110 else f"{quote[:107]}..."
    time_s = "" if seen.after_s is None else f", {seen.after_s:.1f} s"
    return f"**{seen.grade}**{time_s}" + (f": {quote}" if quote else "")


def main(words: Sequence[str] | None = None) -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recorder.deaths", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="+", choices=list(READERS), default=list(READERS), metavar="TOOL")
    parser.add_argument("--deaths", nargs="+", choices=list(DEATHS), default=list(DEATHS), metavar="DEATH")
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (2)")
    options = parser.parse_args(words)
    deaths = [one for one in options.deaths if one != "memory" or can_limit_memory()]
    reasons = [reason for tool in options.only if (reason := _absent(tool))]
    tools = [tool for tool in options.only if not _absent(tool)]
    print(f"{machine()}; {versions(('wandb', 'con-duct', 'mlflow', 'lightning'))}", *reasons, sep="\n")
    with tempfile.TemporaryDirectory(prefix="pylon-peers-", ignore_cleanup_errors=True) as name:
        store = Path(name) / "mlflow.db"
        if "MLflow" in tools:
            _mlflow_store(store)

        def one(pair: tuple[str, str]) -> Seen:
            folder = Path(name) / f"{tools.index(pair[1])} {pair[0]}".replace(" ", "-")
            _prepare(pair[1], folder, store)
            return watch(pair[1], pair[0], folder)

        pairs = [(death, tool) for tool in tools for death in deaths]
        with ThreadPoolExecutor(options.jobs) as pool:
            found = dict(zip(pairs, pool.map(one, pairs), strict=True))
    rows = [[DEATHS[death].title, *(_cell(found[death, tool]) for tool in tools)] for death in deaths]
    print(f"\n{table(['death', *tools], rows)}")


if __name__ == "__main__":
    main()
