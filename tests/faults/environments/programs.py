"""Training programs, each in a situation of its own: `python programs.py NAME`."""

import ctypes
import mmap
import os
import resource
import signal
import sqlite3
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from pylon.monitor import MonitorState
from tests.faults.environments import common
from tests.faults.environments.common import hold, new_monitor, newer, ready, say, state, wait_for, watch

_PR_SET_CHILD_SUBREAPER = 36
_PIECE = 2**24


def plain() -> None:
    """Train, print, stop."""
    monitor = watch()
    ready(monitor)
    sys.stdout.write("trained\n")
    monitor.stop()


def silent() -> None:
    """The same where nothing can be printed."""
    monitor = watch()
    ready(monitor)
    say("streams", closed=[sys.stdin is None, sys.stdout is None, sys.stderr is None])
    monitor.stop()


def unstopped() -> None:
    """Leave the stop to the interpreter's exit."""
    ready(watch())


def until_told() -> None:
    monitor = watch()
    ready(monitor)
    hold()
    newer(monitor)
    ready(monitor, "again")
    monitor.stop()


def interrupted() -> None:
    """Train until Ctrl-C comes; then train on a little, as a program that saves its state does."""
    monitor = watch()
    ready(monitor)
    try:
        hold()
    except KeyboardInterrupt:
        newer(monitor)
        say("interrupted", worker=monitor.health()["CPUMonitor"].pid)
        monitor.stop()
        raise


def no_standard_streams_later() -> None:
    """Close the standard streams while monitors run, as a daemon does; then lose the host."""
    monitor = watch()
    ready(monitor)
    os.closerange(0, 3)
    _lose_host(monitor)
    monitor.stop()


def many_threads() -> None:
    """Fifty threads, a large resident memory and libraries that were set up before."""
    memory = mmap.mmap(-1, 2**30)
    for _ in range(2**30 // _PIECE):
        memory.write(b"1" * _PIECE)
    database = sqlite3.connect(":memory:")
    context = ssl.create_default_context()
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(48)]
    threads += [threading.Thread(target=_spin, args=(over,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    took_s = []
    for _ in range(3):
        monitor = new_monitor()
        begun_s = time.perf_counter()
        monitor.start()
        took_s.append(time.perf_counter() - begun_s)
        ready(monitor)
        monitor.stop()
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    say("started", median_s=statistics.median(took_s), threads=threading.active_count(), resident=resident)
    over.set()
    database.close()
    del context


def _spin(over: threading.Event) -> None:
    while not over.is_set():
        sum(range(1000))


def threads_that_fork() -> None:
    """Children come and go from three threads at once while monitors start, run and stop."""
    over = threading.Event()
    forked: list[int] = []
    threads = [threading.Thread(target=_fork_again_and_again, args=(over, forked)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        monitor = watch()
        ready(monitor)
        newer(monitor)
        monitor.stop()
    over.set()
    for thread in threads:
        thread.join()
    say("forked", children=len(forked))


def _fork_again_and_again(over: threading.Event, forked: list[int]) -> None:
    while not over.is_set():
        pid = os.fork()
        if pid == 0:
            time.sleep(0.05)
            os._exit(0)
        forked.append(pid)
        os.waitpid(pid, 0)


def fork_while_the_host_starts() -> None:
    """A child that keeps every descriptor of the moment in which the host is started, and lives on."""
    threading.setprofile(_fork_beside_the_start)
    monitor = watch()
    threading.setprofile(None)  # type: ignore[arg-type]
    ready(monitor)
    hold()
    monitor.stop()


def _fork_beside_the_start(_frame: object, event: str, function: object) -> None:
    """A profile function: forks right before the call that starts a process."""
    if event != "c_call" or getattr(function, "__name__", "") not in {"fork_exec", "posix_spawn"}:
        return
    sys.setprofile(None)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    say("forked", child=child)


def few_descriptors() -> None:
    """Start monitors with room for 0, 1, 2, ... more descriptors."""
    seen = []
    before = common.descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(20):
        resource.setrlimit(resource.RLIMIT_NOFILE, (_lowest_free() + room, hard))
        monitor = new_monitor()
        monitor.start()
        monitor.latest()
        wait_for(
            lambda monitor=monitor: state(monitor) is not MonitorState.STARTING or _has_failed(monitor),
            "an answer",
        )
        error = None if monitor._client is None else monitor._client.error
        seen.append((state(monitor).value, None if error is None else error.kind))
        monitor.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        seen[-1] += (monitor.health()["CPUMonitor"].state.value,)
    say("tried", seen=seen, left=sorted(set(common.descriptors()) - set(before)))
    monitor = watch()
    ready(monitor)
    monitor.stop()


def _lowest_free() -> int:
    descriptor = os.open(os.devnull, os.O_RDONLY)
    os.close(descriptor)
    return descriptor


def _has_failed(monitor: object) -> bool:
    return monitor._client.error is not None  # type: ignore[attr-defined]


def descriptors_come_back() -> None:
    """Descriptors for a monitor, but none for its host: it comes up by itself once there are some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for room in range(30):
        lowest = _lowest_free()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, hard))
        monitor = watch()
        wait_for(lambda monitor=monitor: _has_failed(monitor), "a failed start")
        refused = state(monitor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if refused is MonitorState.RESTARTING:
            break
        assert refused is MonitorState.FAILED
        monitor.stop()
    say("refused", room=room, state=refused.value)
    ready(monitor)
    monitor.stop()


def no_threads() -> None:
    """A stack that no address space holds: no thread can be started."""
    before = common.descriptors()
    threading.stack_size(2**46)
    try:
        threading.Thread(target=hold).start()
    except RuntimeError as error:
        say("refused", text=str(error))
    monitor = new_monitor()
    monitor.start()
    say("failed", state=state(monitor).value, kind=monitor.health()["CPUMonitor"].last_error.kind)  # type: ignore[union-attr]
    monitor.stop()
    say("stopped", state=state(monitor).value, left=sorted(set(common.descriptors()) - set(before)))
    threading.stack_size(0)
    monitor = watch()
    ready(monitor)
    monitor.stop()


def few_processes() -> None:
    """Start monitors with room for 0, 1, 2, ... more processes and threads."""
    seen = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    for room in (0, 1, 2, 4, 6, 40):
        # This process itself is the first.
        resource.setrlimit(resource.RLIMIT_NPROC, (1 + room, hard))
        if room == 0:
            say("forked", worked=_can_fork())
        monitor = new_monitor()
        monitor.start()
        wait_for(
            lambda monitor=monitor: (
                common.current(monitor) or _has_failed(monitor) or state(monitor) is MonitorState.RESTARTING
            ),
            "an answer",
        )
        health = monitor.health()["CPUMonitor"]
        seen.append((health.state.value, None if health.last_error is None else health.last_error.kind))
        monitor.stop()
    say("tried", seen=seen)
    resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    monitor = watch()
    ready(monitor)
    monitor.stop()


def _can_fork() -> bool:
    try:
        pid = os.fork()
    except OSError:
        return False
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return True


def folder_is_gone() -> None:
    """The working directory was removed, and stands in the search path."""
    with tempfile.TemporaryDirectory() as gone:
        os.chdir(gone)
    sys.path.insert(0, "")
    try:
        Path.cwd()
    except FileNotFoundError:
        say("gone")
    monitor = watch()
    ready(monitor)
    monitor.stop()


def cannot_write() -> None:
    """The working directory takes no file."""
    try:
        Path("pylon-test").touch()
    except OSError:
        say("refused")
    plain()


def odd_search_path() -> None:
    """What users put into their search path."""
    sys.path[:0] = ["/nowhere", "", "{braces}", 'it\'s "quoted"', "line\nbreak", "\udcff", "/nowhere.zip"]
    sys.path.append(Path("/a/path"))  # type: ignore[arg-type]
    say("searched", path=[repr(entry) for entry in sys.path])
    plain()


def adopts_orphans() -> None:
    """PID 1 or a subreaper: lose the host, adopt what it leaves, and keep no zombies."""
    if sys.argv[2] == "subreaper":
        assert ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    monitor = watch()
    ready(monitor)
    if common.WATCHED:
        worker = monitor.health()["CPUMonitor"].pid
        # It takes neither SIGTERM nor the signal of its host's death.
        os.kill(worker, signal.SIGSTOP)
        os.kill(common.supervisor_pid(monitor), signal.SIGKILL)
        wait_for(lambda: len(_children()) > 1, "orphans are adopted")
        say("adopted", children=_children())
        wait_for(lambda: common.current(monitor) and _worker(monitor) != worker, "another host")
        wait_for(lambda: not _children("Z"), "no zombies")
        say("reaped")
    if sys.argv[3] == "hold":
        hold()
        time.sleep(60)
    monitor.stop()
    say("left", children=_children())


def _worker(monitor: Any) -> int | None:
    pid: int | None = monitor.health()["CPUMonitor"].pid
    return pid


def _children(letter: str | None = None) -> list[str]:
    """This process's children that are in the state of this letter, or in any."""
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            name, _, rest = (folder / "stat").read_text().rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        if int(fields[1]) == os.getpid() and letter in {None, fields[0]}:
            found.append(name.partition("(")[2])
    return found


def _lose_host(monitor: object) -> None:
    """SIGKILL the host, and wait until another has brought a sample."""
    if not common.WATCHED:
        say("fresh", host=None)
        return
    former = common.supervisor_pid(monitor)  # type: ignore[arg-type]
    os.kill(former, signal.SIGKILL)
    wait_for(
        lambda: monitor._client.supervisor_pid != former and common.current(monitor),  # type: ignore[attr-defined,arg-type]
        "another host",
    )
    ready(monitor, "fresh")


def _lose_worker(monitor: object) -> None:
    if not common.WATCHED:
        say("fresh")
        return
    former = monitor.health()["CPUMonitor"].pid  # type: ignore[attr-defined]
    os.kill(former, signal.SIGKILL)

    def replaced() -> bool:
        now = monitor.health()["CPUMonitor"]  # type: ignore[attr-defined]
        return now.pid not in {None, former} and common.current(monitor)  # type: ignore[arg-type]

    wait_for(replaced, "another worker")
    say("fresh", host=common.supervisor_pid(monitor), same_host=True)  # type: ignore[arg-type]


def children_are_ignored() -> None:
    """SIGCHLD ignored: the kernel reaps this process's children by itself, and the setting is inherited."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    monitor = watch()
    ready(monitor)
    _lose_worker(monitor)
    _lose_host(monitor)
    begun_s = time.perf_counter()
    monitor.stop()
    say("stopped", stop_s=time.perf_counter() - begun_s)


def signals_are_blocked() -> None:
    """A program that takes signals in a thread of its own blocks them in all others; exec keeps that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals) - {signal.SIGINT})
    monitor = watch()
    ready(monitor)
    if common.WATCHED:
        os.kill(monitor.health()["CPUMonitor"].pid, signal.SIGTERM)
        wait_for(lambda: monitor.health()["CPUMonitor"].restarts > 0, "SIGTERM reaches a worker")
        ready(monitor, "fresh")
    monitor.stop()


def waits_for_any_child() -> None:
    """A thread waits for any child and so takes the host's exit status away from the monitor."""
    over = threading.Event()
    taken: list[int] = []

    def take() -> None:
        while not over.is_set():
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                pid = 0
            if pid:
                taken.append(pid)
            else:
                over.wait(0.0005)

    thread = threading.Thread(target=take)
    thread.start()
    monitor = watch()
    ready(monitor)
    own = os.fork()
    if own == 0:
        os._exit(0)
    wait_for(lambda: own in taken, "its own child")
    _lose_host(monitor)
    monitor.stop()
    over.set()
    thread.join()
    say("taken", count=len(taken))


def closes_all_descriptors() -> None:
    """Close every descriptor from 3 on under the monitor, and use the numbers for its own files."""
    monitor = watch()
    ready(monitor)
    common_folder = Path(common.FOLDER)
    held = [number for number in common.descriptors() if number > 2]
    os.closerange(3, 256)
    files = [(common_folder / f"own{number}").open("w+b", buffering=0) for number in range(12)]
    for file in files:
        file.write(b"x" * 100)
        file.seek(0)
    say("closed", held=held, numbers=[file.fileno() for file in files])
    # Time in which the monitor's thread notices.
    if common.WATCHED:
        wait_for(lambda: state(monitor) is not MonitorState.OK, "the loss is noticed")
    time.sleep(0.3)
    monitor.stop()
    intact = [_intact(file) for file in files]
    say("used", intact=intact, positions_kept=all(intact))


def _intact(file: object) -> bool:
    """Whether nobody has closed, read or written it: the position is where it was, the content too."""
    try:
        return os.lseek(file.fileno(), 0, os.SEEK_CUR) == 0 and file.read() == b"x" * 100  # type: ignore[attr-defined]
    except OSError:
        return False


PROGRAMS: dict[str, Callable[[], None]] = {
    name: thing
    for name, thing in dict(globals()).items()
    if callable(thing) and getattr(thing, "__module__", "") == "__main__" and not name.startswith("_")
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]]()
