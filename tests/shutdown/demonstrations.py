"""What Pylon was made against, shown: `python -m tests.shutdown.demonstrations [--seconds N]`.

Four faults of monitors that live in the training process, each beside Pylon in the same training run:
a busy loop, a shutdown that waits for a reading, an executor that is shut down before the monitor,
and exceptions while the interpreter takes itself apart. The others are small, written by us, in the
ways such monitors are commonly written; see tests/shutdown/subjects/.

exit codes: 0 the others show their faults and Pylon shows none, 1 not so, 2 the command line is wrong
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.faults.harness import Trainer
from tests.monitor.nvml_stand_in import StandIn
from tests.shutdown.subjects.training import INTERVAL_S

# Pylon's promise with its defaults: join_timeout_s of 2 s and 0.5 s.
END_WITHIN_S = 2.5
GONE_WITHIN_S = 2.0
# Who computes for more than this share of a core does not wait between readings. Pylon takes some
# hundredths of one; a busy loop takes what others leave of it.
BUSY_SHARE = 0.1
# They wait more than they compute.
AT_A_TIME = 4
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_SUBJECTS = "tests.shutdown.subjects."
_EXECUTOR_ERROR = "cannot schedule new futures after interpreter shutdown"
_TELLING = ("Error", "error")
_LONGEST_WORDS = 90


@dataclass(frozen=True)
class Row:
    """What was seen of one monitor.

    Attributes:
        monitor: in words.
        cells: one per column of its table.
        faulty: whether it showed the fault.
        expected: whether the fault is expected of it; None where either will do.
    """

    monitor: str
    cells: tuple[str, ...]
    faulty: bool
    expected: bool | None

    @property
    def surprising(self) -> bool:
        return self.expected is not None and self.faulty is not self.expected


@dataclass(frozen=True)
class End:
    """How a training process ended. `exit_code` is None where it had to be killed."""

    exit_code: int | None
    seconds: float
    left: Sequence[str]
    stderr: str

    @property
    def code_text(self) -> str:
        if self.exit_code is None:
            return "killed by us"
        return str(self.exit_code) if self.exit_code >= 0 else signal.Signals(-self.exit_code).name

    @property
    def last_words(self) -> str:
        """The line of standard error that tells most: the last that names an error."""
        lines = [line.strip() for line in self.stderr.splitlines()]
        telling = [line for line in lines if any(one in line for one in _TELLING)]
        return (telling or lines or ["nothing"])[-1][:_LONGEST_WORDS]


@dataclass(frozen=True)
class Subject:
    """A training process with one monitor.

    Attributes:
        monitor: in words.
        module: under tests/shutdown/subjects.
        arguments: see training.py there.
        driver: control lines of the NVML stand-in; None: no driver.
        expected: see Row.
    """

    monitor: str
    module: str
    arguments: tuple[str, ...] = ()
    driver: tuple[str, ...] | None = None
    expected: bool | None = True

    def trainer(self, folder: Path) -> Trainer:
        # Standard output is buffered unless a machine's settings say otherwise; here it shall be.
        environment = {"PYTHONUNBUFFERED": ""}
        arguments = self.arguments
        if self.driver is not None:
            stand_in = StandIn(folder)
            stand_in.behave(*self.driver)
            environment |= stand_in.environment
            arguments += ("--gpu",)
        return Trainer(folder, environment, arguments, _SUBJECTS + self.module)


def ended(trainer: Trainer, limit_s: float) -> End:
    """Wait for the end of a training process that has taken its last step, and look at what is left."""
    begun_s = time.monotonic()
    code: int | None = None
    try:
        code = trainer.exit_code(limit_s)
    except subprocess.TimeoutExpired:
        trainer.process.kill()
        trainer.process.wait()
    seconds = time.monotonic() - begun_s
    return End(code, seconds, trainer.left_over_after(GONE_WITHIN_S), trainer.stderr.read_text())


BUSY_HEADER = ("training process", "reading process", "all together", "of a core")
BUSY = (
    Subject("thread that polls", "busy_thread", ("--wait",)),
    Subject("process that polls", "busy_process", ("--wait",)),
    Subject("Pylon's worker, waiting on its Event", "watched", ("--wait",), expected=False),
)


def watch_cpu(subject: Subject, folder: Path, seconds: float) -> Row:
    """CPU seconds of a training process that does nothing and of its monitor, over `seconds`."""
    with subject.trainer(folder) as trainer:
        trainer.wait_for("ready")
        training = [trainer.pid]
        others = trainer.left_over()
        reader = trainer.left_over("pylon-CPUMonito") or others
        groups = [training, reader, [*training, *others]]
        begun_s, before = time.monotonic(), [sum(map(cpu_s, group)) for group in groups]
        time.sleep(seconds)
        used = [sum(map(cpu_s, group)) - former for group, former in zip(groups, before, strict=True)]
        share = used[-1] / (time.monotonic() - begun_s)
        trainer.end()
        ended(trainer, END_WITHIN_S + INTERVAL_S)
    cells = [f"{one:.2f} s" for one in used]
    if not reader:
        cells[1] = "the same"
    cells.append(f"{100 * share:.1f} %")
    return Row(subject.monitor, tuple(cells), share > BUSY_SHARE, subject.expected)


def cpu_s(pid: int) -> float:
    """CPU seconds since the start of a process: fields 14 and 15 of /proc/PID/stat (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


STOP_HEADER = ("time to end", "exit code", "processes left")
_NORMAL = ("gpus 1",)
# Longer than Pylon's promise, as drivers without persistence mode are on machines with many GPUs.
_SLOW_TO_OPEN = ("gpus 1", "slow nvmlInitWithFlags 4000")
_HANGS_LATER = ("gpus 1", "hang nvmlDeviceGetUtilizationRates 2")
STOPS = (
    Subject("thread, joined: after samples", "joined_thread", (), _NORMAL, None),
    Subject("Pylon: after samples", "watched", (), _NORMAL, False),
    Subject(
        "thread, joined: before the first sample", "joined_thread", ("--until", "started"), _SLOW_TO_OPEN
    ),
    Subject("Pylon: before the first sample", "watched", ("--until", "started"), _SLOW_TO_OPEN, False),
    Subject("thread, joined: during a hung reading", "joined_thread", ("--until", "hung"), _HANGS_LATER),
    Subject("Pylon: during a hung reading", "watched", ("--until", "hung"), _HANGS_LATER, False),
)


def watch_stop(subject: Subject, folder: Path, limit_s: float) -> Row:
    """How long a training process takes to end after its last step, and what it leaves."""
    with subject.trainer(folder) as trainer:
        trainer.wait_for("ending")
        end = ended(trainer, limit_s)
    took = f"{end.seconds:.2f} s" if end.exit_code is not None else f"not in {limit_s:g} s"
    bad = end.seconds > END_WITHIN_S or end.exit_code != 0 or bool(end.left) or bool(end.stderr)
    return Row(subject.monitor, (took, end.code_text, str(len(end.left))), bad, subject.expected)


WORDS_HEADER = ("exit code", "lines on standard error", "the line that tells")
EXECUTORS = (
    Subject("thread that reads through an executor", "pooled_thread", ("--unstopped",)),
    Subject("Pylon", "watched", ("--unstopped",), expected=False),
)
_UNREAD = ("--unstopped", "--quiet", "--until", "started")
EXCEPTIONS = (
    Subject("daemon thread, closed by __del__", "closing_at_exit", ("--unstopped",)),
    Subject("daemon thread that prints, nobody reads", "printing_thread", _UNREAD),
    Subject("Pylon, left to the interpreter", "watched", ("--unstopped",), expected=False),
    Subject("Pylon, nobody reads what is printed", "watched", _UNREAD, expected=False),
)


def watch_exit(subject: Subject, folder: Path, fault: Callable[[End], bool], limit_s: float) -> Row:
    """What a training process says when it ends without a word to its monitor."""
    with subject.trainer(folder) as trainer:
        trainer.wait_for("started" if "--quiet" in subject.arguments else "ending")
        end = ended(trainer, limit_s)
    cells = (end.code_text, str(len(end.stderr.splitlines())), end.last_words)
    # Pylon shall show no fault at all, not only not this one.
    bad = fault(end) or (subject.expected is False and any_fault(end))
    return Row(subject.monitor, cells, bad, subject.expected)


def executor_fault(end: End) -> bool:
    return _EXECUTOR_ERROR in end.stderr


def any_fault(end: End) -> bool:
    return bool(end.stderr) or end.exit_code != 0 or bool(end.left)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.demonstrations", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=5.0, help="how long CPU time is counted (5)")
    parser.add_argument("--limit-s", type=float, default=8.0, help="how long an end is waited for (8)")
    options = parser.parse_args()
    if options.seconds <= 0 or options.limit_s <= END_WITHIN_S:
        parser.error(f"--seconds above 0, --limit-s above {END_WITHIN_S:g}: what is longer is a fault")
    limit_s = options.limit_s
    title = f"1. Busy loop against waiting: CPU time over {options.seconds:g} s, one reading per second"
    rows = show(title, BUSY_HEADER, BUSY, lambda one, at: watch_cpu(one, at, options.seconds))
    title = "2. Monitor shutdown, normal and early: from the last step to the end of the process"
    rows += show(title, STOP_HEADER, STOPS, lambda one, at: watch_stop(one, at, limit_s))
    title = "3. Executor error at interpreter shutdown: training ends without a word to the monitor"
    rows += show(title, WORDS_HEADER, EXECUTORS, lambda one, at: watch_exit(one, at, executor_fault, limit_s))
    title = "4. Exceptions during interpreter shutdown"
    rows += show(title, WORDS_HEADER, EXCEPTIONS, lambda one, at: watch_exit(one, at, any_fault, limit_s))
    surprises = [row.monitor for row in rows if row.surprising]
    for monitor in surprises:
        say(f"not as expected: {monitor}")
    if not surprises:
        say("Pylon shows none of the faults; each of the others shows its own.")
    return 1 if surprises else 0


def show(
    title: str, header: tuple[str, ...], subjects: Sequence[Subject], watch: Callable[[Subject, Path], Row]
) -> list[Row]:
    """Run `subjects` side by side and print their table as one."""

    def run(subject: Subject) -> Row:
        with tempfile.TemporaryDirectory(prefix="pylon-demonstration-") as folder:
            return watch(subject, Path(folder))

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        rows = list(pool.map(run, subjects))
    lines = [("", *header, "fault"), *((row.monitor, *row.cells, _fault(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    say(f"\n{title}")
    for line in lines:
        say("  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    return rows


def _fault(row: Row) -> str:
    return "FAULT" if row.faulty else "-"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
