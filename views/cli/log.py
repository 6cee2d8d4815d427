"""`pylon log`: send a record to TensorBoard, W&B, MLflow or trackio."""

import argparse
import contextlib
import logging
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylon.monitor import printable
from pylon.monitor.cli.commands import from_zero

if TYPE_CHECKING:
    from pylon.monitor.cli.commands import Subparsers
    from pylon.views.loggers.contract import Logger

NAMES = ("tensorboard", "wandb", "mlflow", "trackio")
_ANSWER_WITHIN_S = 90.0
_OPEN_WITHIN_S = 300.0
_PATIENCE_S = 300.0

_EPILOG = """examples:
  pylon log logs/mine --to tensorboard
  pylon log logs/mine --to mlflow --option tracking_uri=http://localhost:5000 --follow

exit codes:
  0    all is sent that the record has
  1    something is left: the same command sends it
  2    the command line is wrong
  130  Ctrl-C
"""


def add_parser(subparsers: "Subparsers") -> None:
    """Add the command."""
    summary = "send a record to TensorBoard, W&B, MLflow or trackio"
    parser = subparsers.add_parser(
        "log",
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}: what is there already is not sent again.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="RUN", help="run directory, or history.sqlite")
    parser.add_argument(
        "--to", required=True, metavar="LOGGER", help=f"{', '.join(NAMES)}, or module:Name of a logger"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        type=_option,
        help="of the logger, such as project=mine",
    )
    parser.add_argument("--follow", action="store_true", help="go on until the run has ended")
    parser.add_argument(
        "--patience",
        type=from_zero,
        default=_PATIENCE_S,
        metavar="S",
        help="how long a failing logger is tried; with --follow, after the run's end (%(default)g)",
    )
    parser.add_argument("--detach", action="store_true", help="go on in the background; log: RUN/loggers")
    parser.add_argument("--program", help=argparse.SUPPRESS)
    parser.set_defaults(run=_run)


def _option(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"{text!r}, expected NAME=VALUE")
    return name, value


def _run(options: argparse.Namespace) -> int:
    from pylon.recorder.history import HistoryError
    from pylon.storage import PlantedError
    from pylon.views.loggers.contract import LoggerError
    from pylon.views.loggers.names import absence_of, class_of, file_name_of, refusal_of
    from pylon.views.loggers.start import detach

    arguments = dict(options.option)
    try:
        cls = class_of(options.to)
        problem = absence_of(cls) or refusal_of(cls, arguments)
        if problem is not None:
            return _refused(problem, 2)
        record = _record(options)
        if options.detach:
            log = record.parent / "loggers" / f"{file_name_of(options.to)}.log"
            log.parent.mkdir(parents=True, exist_ok=True)
            if not detach(log):
                return 0
        return _sent(options, cls, arguments, record)
    except (LoggerError, HistoryError, PlantedError, OSError) as error:
        return _refused(str(error), 1)


def _record(options: argparse.Namespace) -> Path:
    """The one record that is meant."""
    from pylon.recorder.report.errors import ReportError
    from pylon.recorder.report.find import NAME, records_at
    from pylon.views.loggers.contract import LoggerError

    path: Path = options.path.absolute()
    if options.program is not None:
        return path / NAME  # which the run is about to begin
    problems: list[str] = []
    try:
        found = records_at(path, problems)
    except ReportError as error:
        raise LoggerError(str(error)) from error
    if len(found) > 1:
        raise LoggerError(f"{path}: has {len(found)} records, such as {found[0].parent}. Name one of them")
    return found[0]


def _sent(options: argparse.Namespace, cls: "type[Logger]", arguments: dict[str, Any], record: Path) -> int:
    from pylon.views.loggers.forward import Forward, Outcome, Wishes
    from pylon.views.loggers.link import ProcessLink
    from pylon.views.loggers.names import file_name_of, name_of
    from pylon.views.loggers.start import alone, followed, until

    name, stop = file_name_of(options.to), _Stop()
    runs, since = followed(options.program) if options.program else (lambda: False, math.inf)
    wishes = Wishes(options.follow, runs, options.patience, stop.wait, since)
    folder = record.parent / "loggers"
    full = f"{cls.__module__}:{cls.__qualname__}"
    link = ProcessLink(full, arguments, folder / f"{name}.log", _ANSWER_WITHIN_S, _OPEN_WITHIN_S)
    forward = Forward(record, name, arguments, link, wishes, by_closing=cls.CONFIRMS_BY_CLOSING)
    # The process of an earlier launch may still be at work, and sends this one too.
    patience_s = options.patience if options.program else 0.0
    with _messages(), alone(folder / f"{name}.lock", until(time.monotonic() + patience_s, stop.wait)):
        outcome = forward.run()
    if outcome is Outcome.SENT:
        sys.stdout.write(f"{name_of(cls)}: all of {record} is sent, {forward.rows:,} entries\n")
        return 0
    again = f"pylon log {record.parent} --to {options.to}"
    _refused(f"{name_of(cls)}: not all is sent ({forward.problem}). `{again}` sends the rest", 1)
    return 130 if stop.by_keyboard else 1


class _Stop:
    """A request to end: by Ctrl-C, or by SIGTERM; the second Ctrl-C ends at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.by_keyboard = False
        signal.signal(signal.SIGTERM, lambda *_: self._event.set())
        signal.signal(signal.SIGINT, self._interrupted)

    def wait(self, seconds: float) -> bool:
        """Whether there is one, within so many seconds."""
        return self._event.wait(seconds)

    def _interrupted(self, *_: object) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self.by_keyboard = True
        self._event.set()


@contextlib.contextmanager
def _messages() -> Iterator[None]:
    """What happens meanwhile is written to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    target = logging.getLogger("pylon.views.loggers")
    target.addHandler(handler)
    target.setLevel(logging.INFO)
    try:
        yield
    finally:
        target.removeHandler(handler)


def _refused(text: str, code: int) -> int:
    sys.stderr.write(f"pylon log: {printable(text)}\n")
    return code
