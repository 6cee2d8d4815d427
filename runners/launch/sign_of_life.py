"""`state.json` while a run goes on: who runs, and when it was last alive, noted by a thread of its own.

    running ── every 30 s: alive_at, OOM kills ──> finished | failed | preempted, with the time of the end

A disk that hangs delays this thread and no step.
"""

import dataclasses
import datetime
import logging
import os
import platform
import threading
from dataclasses import dataclass
from typing import Any, Self

from pylon.monitor import OOMCount, own_oom_count
from pylon.recorder.channel import start_ticks
from pylon.recorder.endings import boot_id
from pylon.runners.run_directory.directory import RunDirectory

_EVERY_S = 30.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunProcess:
    """A process, distinguished from all others on all machines.

    Attributes:
        pid: its number.
        host: the machine's name.
        boot_id: the kernel's identity of the machine's last start, None if it is not known.
        start_ticks: when the process started, in clock ticks since then; None if it is not known.
    """

    pid: int
    host: str
    boot_id: str | None
    start_ticks: int | None

    @classmethod
    def own(cls) -> Self:
        """This process."""
        pid = os.getpid()
        return cls(pid, platform.node(), boot_id(), start_ticks(pid))


def now_text() -> str:
    """The time, as the run directory's JSON files have it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


class SignOfLife:
    """Keeps `state.json` of a running launch up to date.

    Args:
        directory: the run's, held by this process.
        every_s: seconds between two signs of life.
    """

    def __init__(self, directory: RunDirectory, every_s: float = _EVERY_S) -> None:
        self._directory = directory
        self._every_s = every_s
        self._process = dataclasses.asdict(RunProcess.own())
        self._started_at = now_text()
        # Held while the file is written: what ends the launch is written last.
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._refused = False

    def begin(self) -> None:
        """Note that the launch runs, and keep noting it.

        Raises:
            OSError: the disk refuses the first note.
        """
        self._write()
        try:
            threading.Thread(target=self._keep_on, name="sign of life", daemon=True).start()
        except RuntimeError as error:
            logger.warning("%s: signs of life are not noted: %s", self._directory.state, error)

    def stop(self) -> None:
        """Note no further sign of life."""
        self._ended.set()

    def end(self, state: str, **details: object) -> None:
        """Note how the launch ended. Raises OSError if the disk refuses."""
        self.stop()
        with self._lock:
            self._directory.write_state(state, started_at=self._started_at, ended_at=now_text(), **details)

    def _keep_on(self) -> None:
        while not self._ended.wait(self._every_s):
            with self._lock:
                if self._ended.is_set():
                    return
                self._write_or_log()

    def _write_or_log(self) -> None:
        # A directory that was removed is made again by the next save, under its lock, and not by this.
        if not self._directory.state.exists():
            return
        try:
            self._write()
            self._refused = False
        except OSError as error:
            if not self._refused:
                logger.warning("%s: the sign of life could not be written: %s", self._directory.state, error)
            self._refused = True

    def _write(self) -> None:
        kills = own_oom_count()
        details: dict[str, Any] = {
            "started_at": self._started_at,
            "alive_at": now_text(),
            "process": self._process,
            "oom": dataclasses.asdict(kills) if isinstance(kills, OOMCount) else None,
        }
        self._directory.write_state("running", **details)
