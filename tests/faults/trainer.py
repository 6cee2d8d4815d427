"""A training process for fault tests: steps that do nothing, a monitor beside them, and a chosen end.

    python -m tests.faults.trainer --record FILE --ending normal [--seconds 5] [--interval 0.1]

On standard output, a JSON line each: 'started' once the monitor was started, 'ready' with all
process ids once both monitors have reported, 'fresh' when that is so again with other processes,
'ending' after the last step, 'stopping' and 'stopped' around `stop`, 'exiting' where it is left to
the interpreter's exit.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pylon.monitor.system
from pylon.monitor import CPUMonitor, SystemMonitor, SystemSnapshot
from pylon.storage import write_json
from tests.faults import slow

ENDINGS = ("normal", "exception", "sys.exit", "os._exit", "unstopped")
STEP_S = 0.005
# What `stop` could take at most, for a run without monitors to be hit in the same place.
PRETENDED_STOP_S = 0.5


def main() -> int:
    options = parsed()
    # A shell starts what runs behind it with Ctrl-C ignored; a run in the foreground knows it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.slow_cpu:
        slow.READING_S = options.slow_cpu
        pylon.monitor.system.CPUMonitor = slow.CPUMonitor  # type: ignore[attr-defined]
    watch = SystemMonitor(interval_s=options.interval, timeout_s=1.0, join_timeout_s=1.0)
    started = time.perf_counter()
    if not options.unwatched:
        watch.start()
    say("started", start_s=time.perf_counter() - started)
    training = Training(watch, options)
    training.run()
    say("ending", longest_look_s=training.longest_look_s, last_sample=training.last_sample())
    if options.ending == "os._exit":
        os._exit(4)
    if options.ending == "exception":
        raise RuntimeError("training failed")
    if options.ending == "sys.exit":
        sys.exit(3)
    if options.ending == "unstopped":
        say("exiting")
        return 0
    say("stopping")
    stopped = time.perf_counter()
    if options.unwatched:
        time.sleep(PRETENDED_STOP_S)
    watch.stop()
    say("stopped", stop_s=time.perf_counter() - stopped)
    return 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--ending", choices=ENDINGS, default="normal")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--interval", type=float, default=0.1)
    parser.add_argument("--slow-cpu", type=float, default=0.0, help="seconds that a reading of the CPU takes")
    parser.add_argument("--unwatched", action="store_true", help="without monitors, for comparison")
    return parser.parse_args()


class Training:
    """Steps until the time is over or a file 'end' stands beside the record."""

    def __init__(self, watch: SystemMonitor, options: argparse.Namespace) -> None:
        self.longest_look_s = 0.0
        self._watch = watch
        self._record: Path = options.record
        self._end_file = options.record.with_name("end")
        self._until_s = time.monotonic() + options.seconds
        self._unwatched: bool = options.unwatched
        self._pids: dict[str, int] = {}
        self._sequence = 0

    def run(self) -> None:
        if self._unwatched:
            say("ready", pids={})
        while time.monotonic() < self._until_s and not self._end_file.exists():
            before = time.perf_counter()
            snapshot = self._watch.latest()
            self.longest_look_s = max(self.longest_look_s, time.perf_counter() - before)
            if snapshot.sequence != self._sequence:
                self._sequence = snapshot.sequence
                self._note(snapshot)
            time.sleep(STEP_S)

    def last_sample(self) -> dict[str, bool]:
        """Of which monitor there is a status to show, however old."""
        snapshot = self._watch.latest()
        seen = {"cpu": snapshot.cpu.get("localhost"), "gpu": snapshot.gpu.get("localhost")}
        return {name: one is not None and one.status is not None for name, one in seen.items()}

    def _note(self, snapshot: SystemSnapshot) -> None:
        """Tell of new processes once they have reported; keep the newest sample on disk."""
        cpu, gpu = snapshot.cpu.get("localhost"), snapshot.gpu.get("localhost")
        if cpu is None or cpu.current is None:
            return
        write_json(self._record, snapshot.as_record())
        health = self._watch.health()
        found = {name: one.pid for name, one in health.items() if one.pid is not None}
        if self._watch._client is not None and self._watch._client.supervisor_pid is not None:
            found["host"] = self._watch._client.supervisor_pid
        settled = len(found) == 4 and gpu is not None and gpu.current is not None
        if settled and found != self._pids:
            say("fresh" if self._pids else "ready", pids=found, sequence=snapshot.sequence)
            self._pids = found


def say(event: str, **details: Any) -> None:
    sys.stdout.write(json.dumps({"event": event, **details}) + "\n")
    sys.stdout.flush()


# The stand-in is found under the original's name.
assert slow.CPUMonitor.__name__ == CPUMonitor.__name__

if __name__ == "__main__":
    sys.exit(main())
