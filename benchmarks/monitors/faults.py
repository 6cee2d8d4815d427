"""One fault at a time, dealt to every subject: which continue to train, which end and how, what is left."""

import enum
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benchmarks.monitors.measures import EXIT_WITHIN_S, HANG
from benchmarks.monitors.trainees import SilentError, Trainee

_TRAIN_S = 3.0
_START_WITHIN_S = 6.0
_LEFT_AFTER_S = 2.0
_LEFT_LONG_AFTER_S = 10.0
_LOOK_EVERY_S = 0.05
_TRACEBACK = "Traceback (most recent call last)"


class Fault(enum.Enum):
    """What happens to the run."""

    HANG_AT_START = "driver hangs in nvmlInit"
    HANG = "driver hangs in a call"
    CRASH = "driver aborts in a call"
    EXCEPTION = "exception in training"
    KILL = "SIGKILL to the trainer"
    TERM = "SIGTERM to the trainer"
    EXIT = "interpreter exit during a reading"


_DRIVER = {
    Fault.HANG_AT_START: ("hang nvmlInitWithFlags", "hang nvmlInit_v2"),
    Fault.HANG: (HANG,),
    Fault.CRASH: ("crash nvmlDeviceGetUtilizationRates",),
    # Eight GPUs: with two seconds for a reading, one is always under way.
    Fault.EXIT: ("slow nvmlDeviceGetUtilizationRates 250",),
}
_SIGNALS = {Fault.KILL: signal.SIGKILL, Fault.TERM: signal.SIGTERM}


@dataclass(slots=True)
class Outcome:
    """What was seen.

    Attributes:
        started: whether `start` came back.
        steps: made in the seconds after a fault of the driver; None where there was no such fault.
        longest_step_s: of them.
        exit_code: None where the process did not end.
        end_s: from the end of training, or the signal, to the end of the process.
        left: processes that were still there 2 s after it.
        left_long: processes that were still there 10 s after it.
        tracebacks: printed since the fault.
    """

    started: bool = True
    steps: int | None = None
    longest_step_s: float | None = None
    exit_code: int | None = None
    end_s: float | None = None
    left: int = 0
    left_long: int = 0
    tracebacks: int = 0


def outcomes(fault: Fault, subjects: list[str], folder: Path) -> dict[str, Outcome]:
    """Deal `fault` to all subjects side by side."""
    with ThreadPoolExecutor(len(subjects)) as pool:
        found = pool.map(lambda subject: _outcome(fault, subject, folder), subjects)
        return dict(zip(subjects, found, strict=True))


def _outcome(fault: Fault, subject: str, folder: Path) -> Outcome:
    seen = Outcome()
    behaviour = _DRIVER.get(fault, ())
    with Trainee(subject, folder, *(behaviour if fault is Fault.HANG_AT_START else ())) as trainee:
        trainee.ask("load")
        before = 0
        try:
            trainee.ask("start", _START_WITHIN_S)
        except SilentError:
            seen.started = False
        else:
            if fault is not Fault.HANG_AT_START:
                trainee.ask("first")
            before = trainee.stderr.count(_TRACEBACK)
            _deal(fault, trainee, behaviour, seen)
        seen.tracebacks = trainee.stderr.count(_TRACEBACK) - before
    return seen


def _deal(fault: Fault, trainee: Trainee, behaviour: tuple[str, ...], seen: Outcome) -> None:
    trainee.ask("train")
    if behaviour:
        trainee.driver(*behaviour)
    time.sleep(_TRAIN_S)
    if fault in _SIGNALS:
        ended_s = time.monotonic()
        trainee.signal(_SIGNALS[fault])
    else:
        command = {Fault.EXCEPTION: "fail", Fault.EXIT: "leave"}.get(fault, "finish")
        try:
            report = trainee.ask("report", _TRAIN_S)
            if behaviour:
                seen.steps, seen.longest_step_s = report["steps"], report["longest_s"]
            ended_s = float(trainee.ask(command)["last_step_s"])
        except SilentError:
            seen.steps, ended_s = 0 if behaviour else None, time.monotonic()
    end = trainee.end(EXIT_WITHIN_S)
    seen.exit_code = end.exit_code
    if end.exit_code is not None:
        seen.end_s = end.at_s - ended_s
        seen.left = _left_after(trainee, _LEFT_AFTER_S)
        seen.left_long = _left_after(trainee, _LEFT_LONG_AFTER_S - _LEFT_AFTER_S) if seen.left else 0


def _left_after(trainee: Trainee, grace_s: float) -> int:
    until_s = time.monotonic() + grace_s
    while (left := trainee.left_over()) and time.monotonic() < until_s:
        time.sleep(_LOOK_EVERY_S)
    return len(left)
