"""The recorder's process: it looks about once a second, writes what is new, and writes the end.

    monitors' reports ─┐
    channel           ─┼──> tick ──> HistoryWriter          the run's end ──> ending row
    memory            ─┘

It waits for the run's end, for a request and for the next look at the same time, so it sees the end at once.
"""

import dataclasses
import json
import logging
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pylon.monitor import ReportsGoneError
from pylon.recorder.channel import ChannelReader, MarkRecord, Memory, Writer, start_ticks
from pylon.recorder.endings import MemoryCounter, MemoryCounts
from pylon.recorder.history import HistoryError, HistoryWriter, MarkRow
from pylon.recorder.process.ending import Ended, ending_row
from pylon.recorder.process.hangs import HangWatch
from pylon.recorder.process.inventory import Inventory
from pylon.recorder.process.log import log_to
from pylon.recorder.process.looks import (
    ClockWatch,
    DiskWatch,
    health_detail,
    memory_readings,
    shown_state,
)
from pylon.recorder.process.observers import Observers
from pylon.recorder.process.rate import Rate
from pylon.recorder.process.samples import Sampler
from pylon.recorder.process.specification import Context, RecordSpec
from pylon.recorder.process.steps import Steps
from pylon.recorder.process.watched import Watched
from pylon.storage import PlantedError

_SHORTEST_INTERVAL_S, _LONGEST_INTERVAL_S = 0.2, 2.0
# Without a descriptor that shows the run's end, it is looked for.
_LOOK_EVERY_S = 0.2
_COUNTS_EVERY_S, _COUNTS_KEPT_S = 5.0, 60.0
_TAKE_OVER_WITHIN_S = 2.0

logger = logging.getLogger(__name__)


def record(spec: RecordSpec, context: Context) -> None:
    """Be the recorder: called by the monitors' supervisor in a process of its own."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    reader = ChannelReader(Memory.mapped(context.descriptor))
    if reader.ended:
        context.done()
        return
    _take_over(reader)
    log_to(spec.log, spec.secrets)
    try:
        writer = HistoryWriter(Path(spec.path))
    except (HistoryError, PlantedError) as error:
        reader.note_problem(error)
        raise
    with writer:
        Recording(spec, context, reader, writer).run()


def _take_over(reader: ChannelReader) -> None:
    """End a former recorder of this channel that its supervisor has left behind: a file has one writer."""
    former = reader.recorder
    if former is not None and former[0] != os.getpid() and start_ticks(former[0]) == former[1]:
        os.kill(former[0], signal.SIGKILL)
        until_s = time.monotonic() + _TAKE_OVER_WITHIN_S
        while start_ticks(former[0]) == former[1] and time.monotonic() < until_s:
            time.sleep(0.01)
    reader.note_recorder(os.getpid(), start_ticks(os.getpid()) or 0)


class Recording:
    """One recorder's life.

    Args:
        spec: what to record.
        context: of the supervisor.
        reader: of the channel.
        writer: of the history.
    """

    def __init__(
        self, spec: RecordSpec, context: Context, reader: ChannelReader, writer: HistoryWriter
    ) -> None:
        self._spec = spec
        self._context = context
        self._reader = reader
        self._writer = writer
        self._interval_s = min(max(context.interval_s, _SHORTEST_INTERVAL_S), _LONGEST_INTERVAL_S)
        self._sampler = Sampler(reader.wall)
        self._steps = Steps(reader.wall, spec.hang_after_s)
        self._rate = Rate(self._interval_s)
        self._watched = Watched(context.run_pid, context.run_descriptor)
        self._memory = MemoryCounter(context.run_pid)
        self._memory.find()
        self._counts: deque[MemoryCounts] = deque([self._memory.read()])
        self._ended = Ended(self._counts[0])
        self._hangs = HangWatch(Path(spec.path).parent)
        self._states: dict[str, str] = {}
        self._clock = ClockWatch(time.monotonic())
        self._disk = DiskWatch(Path(spec.path).parent)
        self._step_writer: int | None = None
        self._lost = 0
        self._launch = self._begun()
        title = f"{spec.launch.name or 'run'} on {spec.launch.host}"
        self._inventory = Inventory(self._launch, writer)
        self._observers = Observers(self._launch, writer, spec.notify, title)
        self._reports = threading.Thread(target=self._read_reports, daemon=True)
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def run(self) -> None:
        """Record until the run's end or a request."""
        self._context.ready()
        self._reports.start()
        poll = select.poll()
        for descriptor in (self._context.stop_descriptor, self._context.run_descriptor):
            if descriptor is not None:
                poll.register(descriptor, select.POLLIN)
        while True:
            now_s = time.monotonic()
            self._tick(now_s)
            wait_s = self._rate.wait_s(now_s) * self._context.slowdown
            if self._context.run_descriptor is None:
                wait_s = min(wait_s, _LOOK_EVERY_S)
            poll.poll(max(0.0, now_s + wait_s - time.monotonic()) * 1000)
            if self._context.run_ended():
                self._end(running=False)
                return
            if self._context.asked_to_end() or self._reader.stop_asked:
                # Without a request of the run's own, another recorder is started in place of this one.
                if self._reader.stop_asked:
                    self._end(running=True)
                return

    def _begun(self) -> int:
        """The launch: this recorder's, or the one that a former recorder of this channel has begun."""
        if (known := self._reader.launch) is not None:
            self._writer.resume(known)
            return known
        group = self._memory.find()
        counts = self._counts[0]
        cgroup = None if group is None else {
            "path": group.levels[0],
            "version": group.version,
            "levels": [dataclasses.asdict(one) for one in counts.levels],
            "host_oom_kills": counts.host_kills,
        }  # fmt: skip
        row = dataclasses.replace(
            self._spec.launch,
            cgroup=None if cgroup is None else json.dumps(cgroup),
            began_at=self._reader.began_at,
        )
        number = self._writer.begin(row)
        self._reader.note_problem(self._writer.error)
        self._reader.launch = number
        self._writer.mark(number, row.began_at, "begin", {"kind": row.kind, "name": row.name})
        return number

    def _tick(self, now_s: float) -> None:
        self._context.alive()
        writers = self._reader.writers()
        self._look_at_memory(now_s)
        self._take_channel(now_s, writers)
        if not self._rate.is_fast(now_s):
            self._take_samples(now_s)
            self._take_health(now_s)
            if (jump := self._clock.jump(now_s)) is not None:
                self._mark(now_s, "clock", jump)
            if (readings := self._disk.readings(now_s)) is not None:
                self._memory.find()
                self._reader.free_ended()
                self._writer.sample(self._reader.wall(now_s), readings)
                self._observers.add_readings(self._reader.wall(now_s), readings)
        hang = self._steps.hang(now_s)
        self._ended.hang = hang
        for kind, detail in self._hangs.look(hang, writers, now_s):
            self._mark(now_s, kind, detail)
        self._observers.look(self._reader.wall(now_s), lambda kind, detail: self._mark(now_s, kind, detail))
        if self._writer.commit():
            self._reader.accept()
        self._reader.note_problem(self._writer.error)

    def _take_channel(self, now_s: float, writers: list[Writer]) -> None:
        new = self._reader.collect()
        self._steps.note(new.marks)
        if self._step_writer is None and new.steps:
            # The lowest rank has claimed its slot first.
            self._step_writer = min(one.slot for one in new.steps)
        for mark in new.marks:
            self._take_mark(mark)
        own = [one for one in new.steps if one.slot == self._step_writer]
        window = self._steps.window(self._launch, own, now_s)
        if window is not None:
            self._writer.window(window)
            if self._steps.last_loss is not None:
                self._writer.last_loss(self._launch, self._steps.last_loss)
            self._observers.add_window(window)
        lost = new.overwritten + sum(one.lost for one in writers)
        if lost > self._lost:
            self._mark(now_s, "lost", {"calls": lost - self._lost})
            self._lost = lost

    def _take_mark(self, mark: MarkRecord) -> None:
        if mark.kind == "watch":
            self._watched.change(mark.detail)
            self._writer.change_launch(self._launch, pid=self._watched.pid, start_ticks=self._watched.ticks)
            self._memory = MemoryCounter(self._watched.pid)
            self._memory.find()
            return
        if mark.kind == "stop_request":
            self._ended.note_request(mark)
        detail = mark.detail if mark.slot == 0 else {**mark.detail, "slot": mark.slot}
        self._mark(mark.monotonic_s, mark.kind, detail)

    def _mark(self, monotonic_s: float, kind: str, detail: Mapping[str, Any]) -> None:
        t = self._reader.wall(monotonic_s)
        self._writer.mark(self._launch, t, kind, detail)
        self._observers.add_mark(MarkRow(self._launch, t, kind, json.dumps(detail)))

    def _take_samples(self, now_s: float) -> None:
        observed = self._context.observations()
        self._inventory.look(observed, self._reader.wall(now_s))
        for t, readings in self._sampler.readings(observed, now_s):
            self._writer.sample(t, readings)
            self._observers.add_readings(t, readings)
        while self._sampler.xids:
            one = self._sampler.xids.pop(0)
            self._ended.xids.append(one)
            self._mark(one.monotonic_s, "xid", {"xid": one.xid, "gpu": one.uuid})

    def _take_health(self, now_s: float) -> None:
        for name, health in (self._context.health() or {}).items():
            state = shown_state(health)
            if self._states.get(name, "starting") != state:
                self._mark(now_s, "health", health_detail(name, health))
            self._states[name] = state

    def _look_at_memory(self, now_s: float) -> None:
        fast = self._rate.is_fast(now_s)
        full = not fast and now_s - self._counts[-1].monotonic_s >= _COUNTS_EVERY_S
        counts = self._memory.read() if full else self._memory.use()
        self._rate.note(counts, self._memory.pressure())
        self._ended.last = counts
        if fast:
            t, readings = self._reader.wall(counts.monotonic_s), memory_readings(counts)
            self._writer.sample(t, readings)
            self._observers.add_readings(t, readings)
            return
        self._ended.look_at_shared_memory(now_s)
        if not full:
            return
        self._counts.append(counts)
        while now_s - self._counts[0].monotonic_s > _COUNTS_KEPT_S:
            self._counts.popleft()

    def _read_reports(self) -> None:
        """A thread: a call to the Manager may wait without a limit, and nothing else here may."""
        while True:
            try:
                self._context.new_reports()
            except ReportsGoneError:
                return
            time.sleep(self._interval_s)

    def _on_sigterm(self, _number: int, _frame: object) -> None:
        """A scheduler ends all of a job at once: the run's end is still to be seen."""
        self._ended.recorder_asked(time.monotonic())

    def _end(self, *, running: bool) -> None:
        now_s = time.monotonic()
        self._context.alive()
        self._take_channel(now_s, self._reader.writers())
        self._take_samples(now_s)
        words = self._reader.words()
        row = ending_row(
            self._spec,
            self._launch,
            self._reader.wall(now_s),
            self._ended,
            watched=self._watched,
            words=words,
            counts=self._counts,
            memory=self._memory,
            crash=self._hangs.crash(),
            lost_gpus=[
                uuid for uuid, at_s in self._sampler.lost_gpus.items() if now_s - at_s < _COUNTS_KEPT_S
            ],
            running=running,
            supervisor_ended=self._context.supervisor_ended() and not running,
        )
        self._writer.mark(self._launch, row.at, "end", {"state": row.state, "cause": row.cause})
        self._writer.end(row)
        until_s = time.monotonic() + 1.0
        while not self._writer.commit() and time.monotonic() < until_s:
            time.sleep(0.1)
        self._reader.accept()
        self._reader.note_end()
        self._context.done()
        self._observers.end(row)
