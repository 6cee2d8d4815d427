"""The process of one logger: entries come in as lines, and what the service has goes out as lines.

    {"class", "args", "run", "kept"} ──> {"kept": ...}            opened
    {"entries": [...], "again": true} ──> {"kept": ...}           taken
    end of the input ──> {"kept": ...}                            closed

What fails is a line {"error": text, "permanent": bool}, and the process ends. It leaves without the library's
own ways of ending, which may wait without a limit.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any, TextIO

from pylon.views.loggers.contract import Logger, LoggerError, Picture, Run, Scalars
from pylon.views.loggers.position import entry_of

_LONGEST_ERROR = 500
# prctl(2)
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Send what the standard input names. Returns never: the process ends."""
    # The sender's lock goes with it: another one must not find this process still at work.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # What the library prints goes to the log.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    code = 0
    try:
        _serve(sys.stdin, answers)
    except BaseException as error:  # noqa: BLE001 - of any library, also SystemExit
        named = "" if isinstance(error, LoggerError) else f"{type(error).__name__}: "
        text = " ".join(f"{named}{error}".split())
        permanent = isinstance(error, LoggerError | ImportError | TypeError)
        _answer(answers, {"error": text[:_LONGEST_ERROR], "permanent": permanent})
        code = 1
    os._exit(code)


def _serve(requests: TextIO, answers: TextIO) -> None:
    opening = json.loads(requests.readline())
    logger = made(opening["class"], opening["args"])
    logger.open(Run(**{**opening["run"], "folder": Path(opening["run"]["folder"])}), opening["kept"])
    _answer(answers, {"kept": logger.flush()})
    for line in requests:
        request = json.loads(line)
        entries = [entry_of(one) for one in request["entries"]]
        if request["again"]:
            logger.again(entries)
        for entry in entries:
            if isinstance(entry, Scalars):
                logger.scalars(entry)
            elif isinstance(entry, Picture):
                logger.picture(entry)
            else:
                logger.end(entry)
        _answer(answers, {"kept": logger.flush()})
    _answer(answers, {"kept": logger.close()})


def made(name: str, arguments: dict[str, Any]) -> Logger:
    """The logger of a class that is named 'module:Name'."""
    module, _, qualname = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    logger: Logger = found(**arguments)
    return logger


def _answer(answers: TextIO, content: dict[str, Any]) -> None:
    answers.write(json.dumps(content) + "\n")
    answers.flush()


if __name__ == "__main__":
    main()
