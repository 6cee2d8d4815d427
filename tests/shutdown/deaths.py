"""Deaths of a recorded program: `python -m tests.shutdown.deaths --count N --seed S`.

Each draws a death, a moment, and what happens to the recorder or its supervisor shortly before, and reads
what the record says of the end. The table counts; a wrong cause names the draw that repeats it with --only.

exit codes: 0 all causes are right, or "not observable" where they are, 1 not, 2 the command line is wrong
"""

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.history import EndingRow, HistoryError, open_history

SUBJECT = Path(__file__).parent / "subjects" / "recorded.py"
GROUPS = Path("/sys/fs/cgroup/memory")
LIMIT_BYTES = 160 << 20
# What the record must say: state, cause.
EXPECTED = {
    "sigkill": ("killed", "sigkill"),
    "sigterm": ("stopped", "sigterm"),
    "sigint": ("stopped", "sigint"),
    "sighup": ("killed", "signal"),
    "end": ("finished", "clean"),
    "exit 3": ("failed", "exit_code"),
    "_exit 0": ("failed", "exit_code"),
    "_exit 5": ("failed", "exit_code"),
    "exception": ("failed", "exception"),
    "disk full": ("failed", "disk_full"),
    "non-finite": ("failed", "non_finite"),
    "cuda oom": ("failed", "cuda_oom"),
    "segfault": ("crashed", "segfault"),
    "abort": ("crashed", "abort"),
    "bus error": ("crashed", "bus_error"),
    "fpe": ("crashed", "signal"),
    "stop": ("finished", "clean"),
    "obeyed sigterm": ("stopped", "sigterm"),
    "memory": ("killed", "cgroup_oom"),
    "hang": ("hung", "hang"),
}
# What happens to the processes that record, and how long before the death.
BLOWS = ("", "", "", "recorder SIGKILL", "recorder SIGSTOP", "supervisor SIGKILL", "recorder SIGTERM")
_NOTED_WITHIN_S = 6.0


@dataclass(frozen=True)
class Death:
    """One death.

    Attributes:
        name: of EXPECTED.
        delay_s: after it was recorded.
        blow: of BLOWS.
    """

    name: str
    delay_s: float = 0.0
    blow: str = ""


@dataclass(frozen=True)
class Noted:
    """What the record says.

    Attributes:
        ending: None if nothing was written in time.
        after_s: from the death to the row.
        exit_code: of the program, as its parent sees it.
    """

    ending: EndingRow | None
    after_s: float
    exit_code: int

    @property
    def words(self) -> tuple[str, str]:
        """State and cause."""
        return ("", "") if self.ending is None else (self.ending.state, self.ending.cause)


def can_limit_memory() -> bool:
    """Whether this machine lets us make control groups of version 1 with a memory limit."""
    return os.geteuid() == 0 and (GROUPS / "memory.limit_in_bytes").exists() and os.access(GROUPS, os.W_OK)


def die(death: Death, folder: Path, within_s: float = _NOTED_WITHIN_S) -> Noted:
    """Have a recorded program die, and read its record, in which the end must be within so many seconds."""
    group = memory_group(LIMIT_BYTES) if death.name == "memory" else contextlib.nullcontext(None)
    with group as joined:
        command = [sys.executable, str(SUBJECT), str(folder), death.name, str(death.delay_s)]
        if joined is not None:
            # The shell joins, so that all of the program is in the group from the first page on.
            command = ["sh", "-c", f'echo $$ > {joined}/cgroup.procs; exec "$@"', "sh", *command]
        program = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        assert program.stdin is not None
        assert program.stdout is not None
        with program.stdin, program.stdout:
            pids = [int(word) for word in program.stdout.readline().split()]
            program.stdin.write(b"\n")
            program.stdin.flush()
            if death.blow:
                _strike(death, pids)
            if death.name == "hang":
                _wait_for_mark(folder, "hang")
                program.kill()
            exit_code = program.wait(30)
            died_s = time.monotonic()
            return Noted(*_ending(folder, died_s, within_s), exit_code)


def _strike(death: Death, pids: list[int]) -> None:
    """Hit the recorder or the supervisor a moment before the program dies."""
    time.sleep(death.delay_s / 2)
    whom, name = death.blow.split()
    # The program's number, its supervisor's, its recorder's. The supervisor would replace the recorder.
    hit = {"supervisor": pids[1:2], "recorder": pids[2:3], "both": pids[1:3]}[whom]
    for pid in hit:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.Signals[name])


def _wait_for_mark(folder: Path, kind: str) -> None:
    until_s = time.monotonic() + 20
    while time.monotonic() < until_s:
        with contextlib.suppress(HistoryError), open_history(folder / "history.sqlite") as history:
            if history.marks(1, kinds=[kind]):
                return
        time.sleep(0.05)


def _ending(folder: Path, died_s: float, within_s: float) -> tuple[EndingRow | None, float]:
    while time.monotonic() - died_s < within_s:
        with contextlib.suppress(HistoryError), open_history(folder / "history.sqlite") as history:
            found = history.ending(1)
            if found is not None:
                return found, time.monotonic() - died_s
        time.sleep(0.02)
    return None, time.monotonic() - died_s


@contextlib.contextmanager
def memory_group(limit_bytes: int | None = None) -> Iterator[Path]:
    """A memory control group of version 1 for the block, with a limit or without."""
    group = GROUPS / f"pylon-death-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    try:
        if limit_bytes is not None:
            (group / "memory.limit_in_bytes").write_text(str(limit_bytes))
        yield group
    finally:
        until_s = time.monotonic() + 10
        while True:
            try:
                group.rmdir()
            except OSError:
                if time.monotonic() > until_s:
                    raise
                time.sleep(0.05)
            else:
                break


def draw(seed: int, index: int) -> Death:
    """Death `index` of `seed`: always the same."""
    generator = random.Random(f"{seed}:{index}")
    names = [name for name in EXPECTED if name != "memory" or can_limit_memory()]
    name, blow = generator.choice(names), generator.choice(BLOWS)
    # A hang is told by a mark, for which the recorder must be there.
    return Death(name, generator.uniform(0.0, 0.6), "" if name == "hang" else blow)


def _one(seed: int, index: int) -> tuple[int, Death, Noted]:
    death = draw(seed, index)
    with tempfile.TemporaryDirectory(prefix="pylon-death-") as folder:
        return index, death, die(death, Path(folder))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.deaths", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--count", type=int, default=40, help="how many deaths (40)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2, help="how many at the same time (2)")
    parser.add_argument("--only", type=int, default=None, metavar="N", help="repeat draw N alone")
    options = parser.parse_args()
    draws = range(options.count) if options.only is None else [options.only]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda index: _one(options.seed, index), draws))
    table: Counter[tuple[str, str, str]] = Counter()
    wrong = 0
    for index, death, noted in results:
        right = noted.words == EXPECTED[death.name]
        hidden = noted.ending is not None and noted.ending.cause == "not_observable"
        verdict = "right" if right else "not observable" if hidden else "WRONG"
        table[death.name, " ".join(noted.words), verdict] += 1
        if verdict == "WRONG":
            wrong += 1
            sys.stdout.write(f"draw {index} of seed {options.seed}: {death}: {noted}\n")
    sys.stdout.write(f"{'death':16} {'what the record says':28} {'':16} number\n")
    for (name, words, verdict), number in sorted(table.items()):
        sys.stdout.write(f"{name:16} {words:28} {verdict:16} {number}\n")
    times = sorted(noted.after_s for _, _, noted in results)
    sys.stdout.write(
        f"{len(results)} deaths, {wrong} wrong causes; from death to the row:"
        f" median {times[len(times) // 2]:.2f} s, longest {times[-1]:.2f} s\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
