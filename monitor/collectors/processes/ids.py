"""Which processes belong to a run, and name, command and owner of any process."""

import os
import pwd
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from pylon.masking import masked_words
from pylon.monitor.collectors.proc import process_stat
from pylon.monitor.status.gpu import COMMAND_CHARACTERS
from pylon.monitor.text import printable
from pylon.threads import started

Key = TypeVar("Key")
Answer = TypeVar("Answer")

_PATIENCE_S = 0.2
_MOST_ANSWERS = 1024
# The inode number of the machine's own pid namespace: PROC_PID_INIT_INO, include/linux/proc_ns.h.
_MACHINES_NAMESPACE = "pid:[4026531836]"
_MOST_ANCESTORS = 256


def parent_of(pid: int) -> int:
    """Parent of `pid`. Raises psutil.NoSuchProcess if that is gone."""
    return psutil.Process(pid).ppid()


class RunProcesses:
    """Recognises the processes of a run. A later process with the run's pid is not the run.

    The few processes in question are followed up to their ancestors: to list all processes of a
    machine and find the run's among them costs more than all queries to its GPUs.

    Args:
        pid: the run's first process.
        proc_root: '/proc', or a recorded tree.
    """

    def __init__(self, pid: int, proc_root: Path = Path("/proc")) -> None:
        self._pid = pid
        self._proc_root = str(proc_root)
        self._started = self._started_now()

    def owns(self, pid: int) -> bool:
        """Whether `pid` is the run's first process or descends from it."""
        if self._started is None or self._started_now() != self._started:
            return False
        for _ in range(_MOST_ANCESTORS):
            if pid == self._pid:
                return True
            if pid <= 1:
                return False
            try:
                pid = process_stat(self._proc_root, pid).parent_pid
            except (OSError, ValueError):
                return False
        return False

    def _started_now(self) -> int | None:
        try:
            return process_stat(self._proc_root, self._pid).started_ticks
        except (OSError, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What /proc has on a process; None for what it does not have.

    Attributes:
        name, command: short name and command line.
        owner_uid, owner_name: its user.
    """

    name: str | None = None
    command: str | None = None
    owner_uid: int | None = None
    owner_name: str | None = None


class ProcessTable:
    """Looks processes up by the pids that a driver reports.

    In a container the driver may report the host's pids, and the same number may be another process
    here. So a pid is accepted there only if that process has a GPU open.

    Args:
        proc_root, dev_root: '/proc' and '/dev', or recorded trees.
        shares_machines_pids: whether this process is in the machine's own pid namespace; None: read it
            from `proc_root`.
        all_commands: give the command lines of other users too.
    """

    def __init__(
        self,
        proc_root: Path = Path("/proc"),
        dev_root: Path = Path("/dev"),
        *,
        shares_machines_pids: bool | None = None,
        all_commands: bool = False,
    ) -> None:
        self._proc_root = proc_root
        self._dev_root = dev_root
        self._all_commands = all_commands
        self._commands = PatientLookup(self._read_command)
        self._owner_names = PatientLookup(user_name)
        self.shares_machines_pids = (
            self._in_machines_namespace() if shares_machines_pids is None else shares_machines_pids
        )

    def find(self, pid: int) -> ProcessFacts | None:
        """What is known of `pid`; None if it cannot be seen, or may be another process's number."""
        folder = self._proc_root / str(pid)
        try:
            uid = folder.stat().st_uid
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            started = process_stat(str(self._proc_root), pid).started_ticks
        except (OSError, ValueError):
            return None
        if not self.shares_machines_pids and not self._has_gpu_open(folder):
            return None
        command = self._commands(f"{pid} {started}") if self._all_commands or uid == os.geteuid() else None
        return ProcessFacts(printable(name), command, uid, self._owner_names(uid))

    def _in_machines_namespace(self) -> bool:
        try:
            return str((self._proc_root / "self/ns/pid").readlink()) == _MACHINES_NAMESPACE
        except OSError:
            return False

    def _has_gpu_open(self, folder: Path) -> bool:
        devices = {str(one) for one in self._dev_root.glob("nvidia[0-9]*")}
        # If GPUs are reached in another way (as in WSL) there is nothing to compare with.
        return not devices or any(opened in devices for opened in _opened_by(folder))

    def _read_command(self, key: str) -> str | None:
        try:
            raw = (self._proc_root / key.partition(" ")[0] / "cmdline").read_bytes()
        except OSError:
            return None
        words = raw[: 4 * COMMAND_CHARACTERS].decode("utf-8", errors="replace").split("\0")
        # Masked before it is cut: what is cut may be the name that makes a value secret.
        command = " ".join(masked_words(words)).strip()[:COMMAND_CHARACTERS]
        return printable(command) or None


class PatientLookup(Generic[Key, Answer]):
    """A function that may hang, called in a thread of its own and waited for a moment only.

    The command line of a process that is stuck in the kernel cannot be read, and a user data base on
    the network may not answer: neither may cost a reading of the GPUs. A late answer is used the
    next time. One call at a time: while one hangs, no other is made.

    Args:
        function: gives the answer for a key; answers are kept, so it is called once per key.
    """

    def __init__(self, function: Callable[[Key], Answer | None]) -> None:
        self._function = function
        self._answers: dict[Key, Answer | None] = {}
        self._asking: threading.Thread | None = None

    def __call__(self, key: Key) -> Answer | None:
        """The answer; None if there is none, or none yet."""
        if key in self._answers:
            return self._answers[key]
        if self._asking is not None and self._asking.is_alive():
            return None
        if len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
        asking = threading.Thread(target=self._ask, args=(key,), name="look up", daemon=True)
        if not started(asking):
            return None
        self._asking = asking
        asking.join(_PATIENCE_S)
        return self._answers.get(key)

    def _ask(self, key: Key) -> None:
        self._answers[key] = self._function(key)


def user_name(uid: int) -> str | None:
    """Name of the user in the user data base; None if it has none. May take as long as that base does."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return None


def _opened_by(folder: Path) -> set[str]:
    try:
        return {_target(descriptor) for descriptor in (folder / "fd").iterdir()}
    except OSError:
        # Another user's process, or gone.
        return set()


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""
