"""The section 'apps' of a frame: the programs that nvidia-smi lists, and its excuses for others."""

import re
from dataclasses import dataclass, field, replace

from pylon.masking import masked_words
from pylon.monitor.remote.far.gpu_sections import clock
from pylon.monitor.remote.far.sections import Lines, MalformedError, whole
from pylon.monitor.remote.far.smi import absence_of, amount, mig_instances, value_of
from pylon.monitor.status.gpu import COMMAND_CHARACTERS, GPUProcess, MIGInstance
from pylon.monitor.status.values import Absence, Side

_PROCESSES_STALE_S = 60.0
# Exit statuses with which the list is whole; 14 warns of a damaged infoROM.
_WHOLE_STATUSES = ("0", "14")
# The script sends 256 programs and 128 lines of parts at most.
_MOST_LINES = 400
_NO_PROCESSES = "no running processes"
_NO_LISTS = ("not supported", "not a valid field")

_UUID = re.compile(r"[0-9A-Za-z][0-9A-Za-z/_.-]{7,95}")
# How a message names a GPU: by its place on the bus, or else by its number.
_PLACE = re.compile(r"([0-9A-Fa-f]{4,8}):([0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-9A-Fa-f])")
_NUMBER = re.compile(r"\bGPU ?([0-9]{1,3})\b")


@dataclass(slots=True)
class GPUUsers:
    """The section 'apps'. What cannot be read costs the list of its own GPU.

    Attributes:
        processes: by UUID of the GPU, or of a part of one.
        unread: rows that name no process, by UUID: the reason of each.
        messages: lines that are no rows.
        parts: of each GPU that is divided, by its UUID.
        missing: why GPUs without a row may have processes all the same; None: they have none.
    """

    processes: dict[str, list[GPUProcess]] = field(default_factory=dict)
    unread: dict[str, list[Absence]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    parts: dict[str, tuple[MIGInstance, ...]] = field(default_factory=dict)
    missing: Absence | None = None

    def on(
        self, uuid: str, index: int | None, pci_bus_id: str | None
    ) -> tuple[list[GPUProcess], list[Absence]]:
        """The processes on a GPU and its parts, and why others there are not known."""
        places = [uuid, *(part.uuid for part in self.parts.get(uuid, ()))]
        found = [one for place in places for one in self.processes.get(place, ())]
        reasons = [one for place in places for one in self.unread.get(place, ())]
        if any(_names(message, index, pci_bus_id) for message in self.messages):
            reasons.append(Absence.UNREACHABLE)
        if self.missing is not None:
            reasons.append(self.missing)
        return found, reasons


def gpu_users(lines: Lines | None, uptime_s: float, commands_of: int | None) -> GPUUsers | Absence:
    """The processes on GPUs, or why they are not known.

    Args:
        lines: of the section; None: none has come yet.
        uptime_s: of the machine.
        commands_of: the user whose command lines are given; None: all users.
    """
    if lines is None:
        return Absence.STARTING
    head = lines[0].split() if lines else []
    if len(head) != 3 or head[0] != "at" or len(lines) > _MOST_LINES:
        return Absence.UNREACHABLE
    try:
        at_s = clock(head[1])
    except MalformedError:
        return Absence.UNREACHABLE
    if at_s is None or uptime_s - at_s > _PROCESSES_STALE_S:
        return Absence.HUNG
    users = _rows(lines[1:], commands_of)
    text = "\n".join(users.messages)
    if not users.processes and not users.unread and any(one in text.lower() for one in _NO_LISTS):
        return Absence.UNSUPPORTED
    if head[2] not in _WHOLE_STATUSES:
        users.missing = absence_of(text) or Absence.UNREACHABLE
    return users


def _rows(lines: Lines, commands_of: int | None) -> GPUUsers:
    users = GPUUsers()
    listed: list[str] = []
    for line in lines:
        if line.startswith("mig\t"):
            listed.append(line.removeprefix("mig\t"))
            continue
        try:
            uuid, process = gpu_process(line)
        except MalformedError:
            _put_excuse(users, line.rpartition("\t")[2])
        else:
            if commands_of not in {None, process.owner_uid}:
                process = replace(process, command=None)
            users.processes.setdefault(uuid, []).append(process)
    users.parts = mig_instances(listed)
    return users


def _put_excuse(users: GPUUsers, text: str) -> None:
    """Note a line that names no process: of one GPU, or a message."""
    words = [word.strip() for word in text.split(",", 3)]
    if len(words) == 4 and _UUID.fullmatch(words[0]):
        reason = value_of(words[1], whole)
        users.unread.setdefault(words[0], []).append(
            reason if isinstance(reason, Absence) else Absence.UNREACHABLE
        )
    elif len(words) == 4 and words[1].isdigit():
        # A process of a GPU that is not named may be on any.
        users.missing = Absence.UNREACHABLE
    elif _NO_PROCESSES not in text.lower():
        users.messages.append(text)


def gpu_process(line: str) -> tuple[str, GPUProcess]:
    """The UUID of a GPU, and a process that computes on it. Raises MalformedError.

    The line is 'uid, user and name', as they are in /proc there, and one line of
    `--query-compute-apps=gpu_uuid,pid,used_memory,process_name`, with tabs between.
    """
    parts = line.split("\t")
    words = [word.strip() for word in parts[-1].split(",", 3)]
    if len(parts) != 4 or len(words) != 4 or _UUID.fullmatch(words[0]) is None:
        raise MalformedError(line)
    uid, user, name = (None if part in ("-", "") else part for part in parts[:3])
    memory = value_of(words[2], amount)
    (shown,) = masked_words(words[3:])
    program = None if shown.startswith("[") else shown[:COMMAND_CHARACTERS] or None
    return words[0], GPUProcess(
        pid=whole(words[1]),
        memory_used_bytes=None if isinstance(memory, Absence) else memory,
        compute=True,
        graphics=False,
        name=name or (program and program.split()[0].rpartition("/")[2]) or None,
        command=program,
        owner_uid=None if uid is None else whole(uid),
        owner_name=user,
        of_run=False,
        side=Side.REMOTE,
    )


def _names(message: str, index: int | None, pci_bus_id: str | None) -> bool:
    """Whether a message is about the GPU at this place, or with this number."""
    place, number = _PLACE.search(message), _NUMBER.search(message)
    if place is not None:
        own = None if pci_bus_id is None else _PLACE.fullmatch(pci_bus_id)
        return own is not None and _place(own) == _place(place)
    return number is not None and int(number[1]) == index


def _place(found: re.Match[str]) -> tuple[int, str]:
    return int(found[1], 16), found[2].upper()
