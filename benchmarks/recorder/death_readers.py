"""What a user can read in a tool's own files after a death."""

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pylon.recorder.history import HistoryError, open_history

# W&B has no command that reads the file of an offline run: it is a log of LevelDB's form after 7 bytes.
_WANDB_EXIT = """
import struct, sys
from pathlib import Path
from wandb.proto.wandb_internal_pb2 import Record
data, place, parts = Path(sys.argv[1]).read_bytes(), 7, b""
while place + 7 <= len(data):
    room = 32768 - place % 32768
    if room < 7:
        place += room
        continue
    _, size, kind = struct.unpack_from("<IHB", data, place)
    parts = (parts if kind in (3, 4) else b"") + data[place + 7 : place + 7 + size]
    place += 7 + size
    if kind in (1, 4):
        record = Record()
        record.ParseFromString(parts)
        if record.WhichOneof("record_type") == "exit":
            print(record.exit.exit_code)
"""


@dataclass(frozen=True)
class Answer:
    """What the files report.

    Attributes:
        quote: their words, shortened; '' if they say nothing of an end.
        state: "well", "badly", "running", or "" if they report no state.
        file: which of them; None if none does.
    """

    quote: str = ""
    state: str = ""
    file: Path | None = None


def of_record(folder: Path) -> Answer:
    """The first line of `pylon report`."""
    file = folder / "record/history.sqlite"
    with contextlib.suppress(HistoryError), open_history(file) as history:
        ending = history.ending(1)
        if ending is None:
            return Answer()
        report = [sys.executable, "-m", "pylon", "report", str(file.parent)]
        line = subprocess.run(report, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        return Answer(line, "well" if ending.state == "finished" else "badly", file)
    return Answer()


def of_duct(folder: Path) -> Answer:
    """The exit code in `info.json`, and the last line of the standard error that was captured."""
    file = folder / "duct/info.json"
    with contextlib.suppress(OSError, ValueError):
        code = json.loads(file.read_text())["execution_summary"]["exit_code"]
        line = _last_line(folder / "duct/stderr")
        return Answer(_joined(f"exit_code {code}", line), "well" if code == 0 else "badly", file)
    return Answer()


def of_mlflow(folder: Path) -> Answer:
    """The run's status, which the page of MLflow shows."""
    file = folder / "mlflow.db"
    with contextlib.closing(sqlite3.connect(file)) as store:
        statuses = [status for (status,) in store.execute("SELECT status FROM runs")]
    if not statuses:
        return Answer()
    states = {"FINISHED": "well", "RUNNING": "running"}
    return Answer(f"status {statuses[0]}", states.get(statuses[0], "badly"), file)


def of_wandb(folder: Path) -> Answer:
    """The exit record of the run's file, and the last line of the output that W&B kept."""
    for file in folder.glob("wandb/offline-run-*/run-*.wandb"):
        read = [sys.executable, "-c", _WANDB_EXIT, str(file)]
        code = subprocess.run(read, capture_output=True, text=True, check=True).stdout.strip()
        line = _last_line(file.parent / "files/output.log")
        if code:
            return Answer(_joined(f"exit_code {code}", line), "well" if code == "0" else "badly", file)
        return Answer(line, "", file if line else None)
    return Answer()


def of_lightning(folder: Path) -> Answer:
    """CSVLogger's files: the metrics of the steps, and no state."""
    rows = sum(len(file.read_text().splitlines()) - 1 for file in folder.glob("lightning_logs/*/metrics.csv"))
    return Answer(f"metrics.csv has {rows} rows, and no field for an end")


READERS: dict[str, Callable[[Path], Answer]] = {
    "Recorder": of_record,
    "pylon run": of_record,
    "W&B offline": of_wandb,
    "con/duct": of_duct,
    "MLflow": of_mlflow,
    "Lightning": of_lightning,
}


def grade(answer: Answer, *, well: bool, cause: str) -> str:
    """right: state and cause; partly: one of them; wrong: another state; nothing.

    Args:
        answer: to grade.
        well: whether it ended as it should.
        cause: pattern of what names the cause; '' if there is nothing to name.
    """
    named = bool(re.search(cause, answer.quote, re.IGNORECASE))
    if answer.state == "":
        return "partly" if cause and answer.file is not None and named else "nothing"
    if answer.state == "running" or (answer.state == "well") != well:
        return "wrong"
    return "right" if named else "partly"


def _last_line(file: Path) -> str:
    with contextlib.suppress(OSError):
        lines = [line for line in file.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else ""
    return ""


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)
