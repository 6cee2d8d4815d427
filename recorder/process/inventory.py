"""Who used the machine's GPUs and memory: processes, from when to when they were seen."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from pylon.monitor import CPUStatus, GPUStatus, Observation
from pylon.recorder.history import HistoryWriter, ProcessRow

_LOCAL = "localhost"
_EVERY_S = 5.0
# A record of a machine with many short jobs stays small.
_MOST_ROWS = 1000
# Of the machine's memory: less explains nothing.
_LEAST_SHARE = 0.01

_Key = tuple[int, str]


class Inventory:
    """Writes the processes that the monitors see, each once it is seen, and again when that is over.

    Args:
        launch: number of the launch.
        writer: of the record.
    """

    def __init__(self, launch: int, writer: HistoryWriter) -> None:
        self._launch = launch
        self._writer = writer
        self._present: dict[_Key, ProcessRow] = {}
        self._rows = 0
        self._looked_t = 0.0

    def look(self, observed: Mapping[str, Mapping[str, Observation[Any]]], t: float) -> None:
        """Look at what the monitors have seen, now and then.

        Args:
            observed: by monitor and server.
            t: the time of the record.
        """
        if t - self._looked_t < _EVERY_S:
            return
        statuses = [by[_LOCAL].current for by in observed.values() if _LOCAL in by]
        known = [one for one in statuses if isinstance(one, CPUStatus | GPUStatus)]
        if not known:
            return
        self._looked_t = t
        seen = {(row.pid, row.device or ""): row for one in known for row in self._of_status(one, t)}
        for key, row in seen.items():
            self._note(key, row)
        kinds = {"gpu" if isinstance(one, GPUStatus) else "host" for one in known}
        for key in [key for key in self._present if key not in seen and _kind(key) in kinds]:
            self._writer.process(dataclasses.replace(self._present.pop(key), until=t))

    def _note(self, key: _Key, row: ProcessRow) -> None:
        former = self._present.get(key)
        if former is None:
            if self._rows >= _MOST_ROWS:
                return
            self._rows += 1
        else:
            most = max(former.memory_bytes or 0, row.memory_bytes or 0) or None
            row = dataclasses.replace(row, since=former.since, memory_bytes=most)
            if row == former:
                return
        self._present[key] = row
        self._writer.process(row)

    def _of_status(self, status: CPUStatus | GPUStatus, t: float) -> Iterator[ProcessRow]:
        if isinstance(status, GPUStatus):
            for gpu in status.gpus:
                for user in gpu.processes or ():
                    role = "run" if user.of_run else "gpu"
                    name = user.command or user.name
                    yield ProcessRow(
                        self._launch, user.pid, t, None, user.owner_name, name, role, gpu.uuid,
                        user.memory_used_bytes,
                    )  # fmt: skip
            return
        least = (status.sample.memory_total_bytes or 0) * _LEAST_SHARE
        for one in status.sample.top_processes or ():
            if one.of_run or one.rss_bytes >= least:
                role = "run" if one.of_run else "host"
                yield ProcessRow(self._launch, one.pid, t, None, one.user, one.name, role, "", one.rss_bytes)


def _kind(key: _Key) -> str:
    return "gpu" if key[1] else "host"
