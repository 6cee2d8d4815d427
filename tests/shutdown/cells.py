"""One cell of the matrix of faults: who is hit, by which signal, at which moment; what must hold after it.

The moments are made wide enough to be hit: readings take long for 'inside a collector', the Manager
is stopped for 'writing a status', and both for what happens during an orderly end.
"""

import contextlib
import enum
import itertools
import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from tests.faults.harness import Trainer, wait_until
from tests.monitor.nvml_stand_in import StandIn

# join_timeout_s is 1 s in the trainer, so 1.5 s is promised; the rest is two busy cores' scheduling.
STOP_WITHIN_S = 1.5 + 0.4
GONE_WITHIN_S = 2.0
LONGEST_LOOK_S = 0.1
_AFTERWARDS_S = 0.1
_OWN_CODE = "/monitor/"
_TRACEBACK = "Traceback (most recent call last):"
_NAMES = {"manager": "pylon-manager", "CPUMonitor": "pylon-CPUMonito", "GPUMonitor": "pylon-GPUMonito"}


class Victim(enum.Enum):
    TRAINER = "trainer"
    MANAGER = "manager"
    CPU = "CPUMonitor"
    GPU = "GPUMonitor"


class Blow(enum.Enum):
    INT = "SIGINT"
    TERM = "SIGTERM"
    KILL = "SIGKILL"
    STOP = "SIGSTOP"
    STOP_CONT = "SIGSTOP, SIGCONT"


class Moment(enum.Enum):
    STARTING = "starting"
    WAITING = "waiting on the Event"
    COLLECTING = "inside a collector"
    WRITING = "writing a status"
    STOPPING = "during stop"
    EXITING = "at interpreter exit"


class Driver(enum.Enum):
    """What the GPU driver does, as control lines of the NVML stand-in."""

    ABSENT = "absent"
    NORMAL = "normal"
    SLOW = "slow"
    HUNG = "hung"


# How the training process ends, and its exit code then without monitors.
ENDINGS = {"normal": 0, "unstopped": 0, "exception": 1, "sys.exit": 3, "os._exit": 4}


@dataclass(frozen=True)
class Cell:
    victim: Victim
    blow: Blow
    moment: Moment
    driver: Driver = Driver.SLOW
    ending: str = "normal"
    delay_s: float = 0.0

    def __str__(self) -> str:
        place = f"{self.victim.value} x {self.blow.value} x {self.moment.value}"
        return f"{place} (driver {self.driver.value}, ending {self.ending}, delay {self.delay_s:.3f} s)"


ALL_CELLS = [Cell(*three) for three in itertools.product(Victim, Blow, Moment)]


def random_cell(generator: random.Random) -> Cell:
    """A cell of the matrix with a driver, an ending and a delay, all by chance."""
    moment = generator.choice(list(Moment))
    free = moment in {Moment.WAITING, Moment.COLLECTING, Moment.WRITING}
    return Cell(
        generator.choice(list(Victim)),
        generator.choice(list(Blow)),
        moment,
        generator.choice(list(Driver)),
        generator.choice(list(ENDINGS)) if free else "normal",
        generator.uniform(0.0, 0.3),
    )


@dataclass
class Outcome:
    """What was seen. `findings` is empty where everything held."""

    cell: Cell
    findings: list[str] = field(default_factory=list)
    hit: bool = False
    exit_code: int | None = None
    end_s: float = 0.0
    stderr: str = ""

    def expect(self, condition: bool, finding: str) -> None:
        if not condition:
            self.findings.append(finding)


def run_cell(cell: Cell, folder: Path) -> Outcome:
    """Run a training process, deal the blow, let it end, and look at what is left.

    Args:
        cell: what to do.
        folder: empty; holds the process's files.
    """
    outcome = Outcome(cell)
    stand_in = StandIn(folder)
    stand_in.behave(*_driver_lines(cell, hit=cell.moment is Moment.STARTING))
    environment = {} if cell.driver is Driver.ABSENT else stand_in.environment
    with Trainer(folder, environment, _arguments(cell)) as trainer:
        try:
            _play(cell, trainer, stand_in, outcome)
            ended_s = time.monotonic()
            outcome.exit_code = trainer.exit_code(STOP_WITHIN_S + 8)
            outcome.end_s = time.monotonic() - ended_s
            outcome.expect(outcome.end_s < STOP_WITHIN_S, f"it took {outcome.end_s:.2f} s to end")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            outcome.findings.append(str(error))
            return outcome
        outcome.expect(
            not (left := trainer.left_over_after(GONE_WITHIN_S)), f"left after {GONE_WITHIN_S:g} s: {left}"
        )
        outcome.stderr = trainer.stderr.read_text()
        _judge(cell, trainer, outcome)
    return outcome


def _arguments(cell: Cell) -> tuple[str, ...]:
    slow = cell.moment in {Moment.COLLECTING, Moment.STOPPING, Moment.EXITING}
    ending = "unstopped" if cell.moment is Moment.EXITING else cell.ending
    return ("--ending", ending, *(("--slow-cpu", "0.6") if slow else ()))


def _driver_lines(cell: Cell, *, hit: bool) -> tuple[str, ...]:
    """Control lines of the stand-in, before and after the driver begins to misbehave."""
    if cell.driver is Driver.HUNG and hit:
        call = "nvmlInitWithFlags" if cell.moment is Moment.STARTING else "nvmlDeviceGetUtilizationRates"
        return "gpus 2", f"hang {call}"
    slow = cell.driver is Driver.SLOW
    return ("gpus 2", "slow nvmlDeviceGetUtilizationRates 100") if slow else ("gpus 2",)


def _play(cell: Cell, trainer: Trainer, stand_in: StandIn, outcome: Outcome) -> None:
    if cell.moment is Moment.STARTING:
        trainer.wait_for("started")
        _deal(cell, _starting_pid(cell, trainer), outcome)
        time.sleep(_AFTERWARDS_S)
        _end(cell, trainer, outcome)
        return
    pids = trainer.wait_for("ready")["pids"] | {"trainer": trainer.pid}
    stand_in.behave(*_driver_lines(cell, hit=True))
    time.sleep(cell.delay_s)
    if cell.moment in {Moment.STOPPING, Moment.EXITING}:
        trainer.end()
        trainer.wait_for("stopping" if cell.moment is Moment.STOPPING else "exiting")
        time.sleep(cell.delay_s / 10)
        _deal(cell, pids[cell.victim.value], outcome)
        return
    held = pids["manager"] if cell.moment is Moment.WRITING and cell.victim is not Victim.MANAGER else None
    with _stopped(held):
        _deal(cell, pids[cell.victim.value], outcome)
    time.sleep(_AFTERWARDS_S)
    _end(cell, trainer, outcome)


@contextlib.contextmanager
def _stopped(pid: int | None) -> Iterator[None]:
    """Hold a process by SIGSTOP inside the block, long enough for others to wait for it."""
    if pid is None:
        yield
        return
    os.kill(pid, signal.SIGSTOP)
    # A report per interval of 0.1 s: every worker is in the middle of one after this.
    time.sleep(0.25)
    yield
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _starting_pid(cell: Cell, trainer: Trainer) -> int:
    if cell.victim is Victim.TRAINER:
        return trainer.pid
    found: list[int] = []

    def look() -> bool:
        found[:] = trainer.left_over(_NAMES[cell.victim.value])
        return bool(found)

    wait_until(look, 10, f"{cell.victim.value} starts")
    return found[0]


def _deal(cell: Cell, pid: int, outcome: Outcome) -> None:
    try:
        if cell.blow is Blow.INT and cell.victim is Victim.TRAINER:
            # As a terminal does: to the foreground group.
            os.killpg(pid, signal.SIGINT)
        elif cell.blow is Blow.STOP_CONT:
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(pid, signal.SIGCONT)
        else:
            os.kill(pid, signal.Signals[cell.blow.value])
        outcome.hit = True
    except ProcessLookupError:
        # It had ended a moment before, which an orderly stop may do.
        outcome.hit = False
    if cell.blow is Blow.STOP and cell.victim is Victim.TRAINER:
        # A stopped training process ends only by SIGKILL, as a scheduler does it.
        time.sleep(0.2)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _end(cell: Cell, trainer: Trainer, outcome: Outcome) -> None:
    trainer.end()
    if cell.victim is Victim.TRAINER and cell.blow is not Blow.STOP_CONT:
        return
    said = trainer.wait_for("ending")
    if cell.victim is not Victim.TRAINER:
        look_s = said["longest_look_s"]
        outcome.expect(look_s < LONGEST_LOOK_S, f"a look took {look_s:.3f} s")
    if cell.moment is not Moment.STARTING:
        outcome.expect(said["last_sample"]["cpu"], "the last good sample of the processors is lost")
        outcome.expect(said["last_sample"]["gpu"], "the last good sample of the GPUs is lost")


def _judge(cell: Cell, trainer: Trainer, outcome: Outcome) -> None:
    expected = _exit_codes_without_monitors(cell)
    code = outcome.exit_code
    outcome.expect(code in expected, f"exit code {code}, without monitors {expected}")
    strange = [line for line in outcome.stderr.splitlines() if not line.startswith("monitor ")]
    if outcome.exit_code == -signal.SIGINT:
        outcome.expect("KeyboardInterrupt" in strange, "no KeyboardInterrupt on standard error")
        strange = []
    if outcome.exit_code == ENDINGS["exception"]:
        outcome.expect(strange.count(_TRACEBACK) == 1, f"tracebacks: {strange.count(_TRACEBACK)}, not 1")
        outcome.expect(strange[-1:] == ["RuntimeError: training failed"], f"the last line: {strange[-1:]}")
        strange = []
    if cell.blow is Blow.INT and cell.moment is Moment.EXITING and _OWN_CODE not in outcome.stderr:
        # Ctrl-C can hit the interpreter's own exit, which then says so, with monitors or without.
        strange = []
    outcome.expect(not strange, f"on standard error: {strange[:12]}")
    if cell.moment is not Moment.STARTING:
        outcome.expect(trainer.record.exists(), "no record of a sample on disk")


def _exit_codes_without_monitors(cell: Cell) -> set[int]:
    if cell.victim is not Victim.TRAINER or cell.blow is Blow.STOP_CONT:
        return {ENDINGS[cell.ending]}
    if cell.moment is Moment.EXITING:
        # The interpreter's exit takes no time without monitors: either it was over, or the signal killed.
        return {0, *({-signal.SIGKILL} if cell.blow is Blow.STOP else {-signal.Signals[cell.blow.value]})}
    return {_measured_exit_code(cell.blow, cell.moment is Moment.STOPPING)}


@cache
def _measured_exit_code(blow: Blow, while_stopping: bool) -> int:
    """The exit code of the same training process without monitors, hit in the same way."""
    with tempfile.TemporaryDirectory() as folder, Trainer(Path(folder), {}, ("--unwatched",)) as trainer:
        trainer.wait_for("ready")
        if while_stopping:
            trainer.end()
            trainer.wait_for("stopping")
        cell = Cell(Victim.TRAINER, blow, Moment.WAITING)
        _deal(cell, trainer.pid, Outcome(cell))
        return trainer.exit_code()
