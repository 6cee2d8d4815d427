"""What happens to a record when its disk, its file or its writer fails."""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pylon.recorder.history import (
    EndingRow,
    HistoryAbsentError,
    HistoryBusyError,
    HistoryDamagedError,
    HistoryForeignError,
    HistoryVersionError,
    HistoryWriter,
    LaunchRow,
    SeriesKey,
    open_history,
    pending,
    place,
)
from pylon.storage import PlantedError

T = 1_790_000_000.0
KEYS = [SeriesKey("localhost", "", f"figure {number}", "percent", "host") for number in range(20)]


class Clock:
    """Seconds that pass only when a test lets them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def fill(writer: HistoryWriter, seconds: int, start: int = 0) -> bool:
    """Write a reading of each figure per second."""
    done = True
    for second in range(start, start + seconds):
        writer.sample(T + second, [(key, second + 0.5, None) for key in KEYS])
        done = writer.commit()
    return done


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


@pytest.mark.parametrize("damage", ["header", "middle", "cut", "text"])
def test_damaged_file_is_set_aside_and_a_new_one_begun(
    path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with HistoryWriter(path) as writer:
        writer.begin(LaunchRow(T, "runner"))
        fill(writer, 120)
    content = path.read_bytes()
    hurt = {
        "header": b"\0" * 512 + content[512:],
        "middle": content[:8192] + os.urandom(len(content) - 8192),
        "cut": content[: len(content) // 2],
        "text": b"not a database at all, but a text" * 99,
    }[damage]
    path.write_bytes(hurt)
    with (
        pytest.raises(HistoryDamagedError, match=r"history\.sqlite.*next run sets it aside"),
        open_history(path) as history,
    ):
        history.range()
        [history.readings(key, T, T + 200) for key in history.series()]
    with HistoryWriter(path) as writer:
        assert writer.set_aside == path.with_name("history.sqlite.damaged-1")
        assert writer.begin(LaunchRow(T + 500, "runner")) == 1
    assert path.with_name("history.sqlite.damaged-1").read_bytes() == hurt
    assert "history.sqlite.damaged-1" in caplog.text
    with open_history(path) as history:
        assert [row.began_at for row in history.launches()] == [T + 500]


def test_second_damaged_file_replaces_no_first_one(path: Path) -> None:
    for number in (1, 2):
        path.write_bytes(b"damaged" * number)
        HistoryWriter(path).close()
        assert path.with_name(f"history.sqlite.damaged-{number}").read_bytes() == b"damaged" * number


def test_damage_that_appears_while_it_is_written_is_set_aside_too(path: Path) -> None:
    clock = Clock()
    with HistoryWriter(path, clock=clock) as writer:
        launch = writer.begin(LaunchRow(T, "runner", pid=7))
        fill(writer, 5)
        # As another program or a bad disk would: every page but the first.
        other = sqlite3.connect(path)
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(path.stat().st_size - 4096))
        for second in range(100, 110):
            fill(writer, 1, second)
            clock.now += 60
        assert writer.error is None
        assert writer.set_aside is not None
        writer.end(EndingRow(launch, T + 200, "finished", "clean", "confirmed", "program", exit_code=0))
    with open_history(path) as history:
        assert [row.pid for row in history.launches()] == [7], "the launch is known in the new file"
        assert history.ending(launch) is not None
        assert history.readings(KEYS[0], T + 100, T + 110)


def test_two_writers_never_write_one_file(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pylon.recorder.history import *\n"
        "writer = HistoryWriter(Path(sys.argv[1])); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(HistoryBusyError, match="another process records into it"):
            HistoryWriter(path)
        other.kill()
    HistoryWriter(path).close()


def test_record_of_a_newer_pylon_is_refused_and_kept(path: Path) -> None:
    HistoryWriter(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(HistoryVersionError, match="schema version 2, and this Pylon knows 1"):
        HistoryWriter(path)
    with pytest.raises(HistoryVersionError, match="Update Pylon"):
        open_history(path)
    assert path.read_bytes() == content


def test_database_of_another_program_is_refused_and_kept(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE mine(a)")
    connection.close()
    content = path.read_bytes()
    with pytest.raises(HistoryForeignError, match="another program"):
        HistoryWriter(path)
    empty = path.with_name("empty.sqlite")
    empty.touch()
    with pytest.raises(HistoryAbsentError, match=r"is empty: .* full disk"):
        open_history(empty)
    with pytest.raises(HistoryForeignError, match="no record of Pylon"):
        open_history(path)
    assert path.read_bytes() == content


def test_journal_that_would_stop_its_reader_or_fill_the_disk_is_not_read(path: Path) -> None:
    HistoryWriter(path).close()
    log = path.with_name("history.sqlite-wal")
    os.mkfifo(log)
    with pytest.raises(HistoryDamagedError, match=r"history\.sqlite-wal is not a regular file"):
        open_history(path)
    log.unlink()
    with log.open("wb") as file:
        file.truncate(10 * 1024**3)
    with pytest.raises(HistoryDamagedError, match="has 11 GB with its journal"):
        open_history(path)


def test_reader_of_an_absent_file_names_it(path: Path) -> None:
    with pytest.raises(HistoryAbsentError, match=r"history\.sqlite: there is no such file"):
        open_history(path.parent)


@contextmanager
def full_disk(most_bytes: int) -> Iterator[None]:
    """The kernel refuses every write beyond this place of any file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_keeps_the_newest_in_memory_and_counts_what_has_no_room(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending, "MOST_SAMPLES", 1000)
    clock = Clock()
    with HistoryWriter(path, clock=clock) as writer:
        launch = writer.begin(LaunchRow(T, "runner"))
        fill(writer, 10)
        size = path.with_name("history.sqlite-wal").stat().st_size
        with full_disk(size):
            assert not fill(writer, 1, start=10)
            assert writer.error is not None
            for second in range(11, 100):
                clock.now += 1
                fill(writer, 1, second)
        clock.now += 60
        assert fill(writer, 1, start=100)
        assert writer.error is None
    with open_history(path) as history:
        samples = sum(one.n for one in history.samples(KEYS[0], T, T + 2000, 1))
        (lost,) = history.marks(launch, {"lost"})
        assert lost.detail is not None
        detail = json.loads(lost.detail)
        assert detail["samples"] > 0
        assert samples * len(KEYS) + detail["samples"] == 101 * len(KEYS)
        assert detail["reason"]


def test_disk_without_a_free_block_and_then_with_some(tmp_path: Path) -> None:
    """A file system of 8 MB of its own, filled by another file, which is then removed."""
    code = (
        "import os, sys, errno; from pathlib import Path\n"
        "from pylon.recorder.history import *\n"
        "disk, now = Path(sys.argv[1]), [0.0]\n"
        "writer = HistoryWriter(disk / 'history.sqlite', clock=lambda: now[0])\n"
        f"launch = writer.begin(LaunchRow({T}, 'runner'))\n"
        "keys = [SeriesKey('localhost', '', f'figure {number}') for number in range(50)]\n"
        "def tick(second):\n"
        "    now[0] += 1\n"
        f"    writer.sample({T} + second, [(key, second + 0.5, None) for key in keys])\n"
        "    return writer.commit()\n"
        "assert all([tick(second) for second in range(50)])\n"
        "with (disk / 'other').open('wb', buffering=0) as other:\n"
        "    try:\n"
        "        while other.write(b'x' * 4096): pass\n"
        "    except OSError as error: assert error.errno == errno.ENOSPC\n"
        "written = [tick(second) for second in range(50, 150)]\n"
        "assert not all(written) and 'full' in str(writer.error), writer.error\n"
        "(disk / 'other').unlink(); now[0] += 60\n"
        "assert tick(150), writer.error\n"
        f"writer.end(EndingRow(launch, {T} + 151, 'failed', 'disk_full', 'likely', 'recorder'))\n"
        "with open_history(disk) as history:\n"
        "    assert history.ending(launch).cause == 'disk_full'\n"
        "    print(len(history.readings(keys[0], 0, 1e12)), history.marks(launch, {'lost'}))\n"
    )
    mounted = 'mount -t tmpfs -o size=8m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr and not done.stdout:
        pytest.skip(f"needs a mount namespace: {done.stderr.strip()}")
    assert (done.returncode, done.stdout) == (0, "151 []\n"), done.stderr


def test_pipe_in_the_place_of_the_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(PlantedError, match="is not a regular file"):
        HistoryWriter(path)
    with pytest.raises(HistoryAbsentError):
        open_history(path)


def test_removed_folder_and_removed_file_end_nothing(tmp_path: Path) -> None:
    folder, clock = tmp_path / "run", Clock()
    folder.mkdir()
    path = folder / "history.sqlite"
    with HistoryWriter(path, clock=clock) as writer:
        launch = writer.begin(LaunchRow(T, "runner", pid=7))
        fill(writer, 3)
        shutil.rmtree(folder)
        assert not fill(writer, 1, start=3)
        folder.mkdir()
        clock.now += 60
        assert fill(writer, 1, start=4)
        writer.end(EndingRow(launch, T + 9, "finished", "clean", "confirmed", "program"))
    with open_history(path) as history:
        assert [row.pid for row in history.launches()] == [7]
        assert [one.t for one in history.readings(KEYS[0], T, T + 9)] == [T + 3, T + 4]


def test_file_that_cannot_be_opened_at_first_is_written_later_after_earlier_launches(tmp_path: Path) -> None:
    folder, clock = tmp_path / "run", Clock()
    folder.mkdir()
    path = folder / "history.sqlite"
    with HistoryWriter(path) as writer:
        writer.begin(LaunchRow(T - 500, "runner", pid=6))
    folder.rename(tmp_path / "away")
    with HistoryWriter(path, clock=clock) as writer:
        assert writer.error is not None
        launch = writer.begin(LaunchRow(T, "runner", pid=7))
        writer.mark(launch, T + 1, "epoch")
        (tmp_path / "away").rename(folder)
        clock.now += 60
        assert writer.commit()
        writer.end(EndingRow(launch, T + 9, "finished", "clean", "confirmed", "program"))
    with open_history(path) as history:
        assert [(row.id, row.pid) for row in history.launches()] == [(1, 6), (2, 7)]
        assert [mark.launch for mark in history.marks(kinds={"epoch"})] == [2]
        assert (history.ending(1), history.ending(2) is not None) == (None, True)


def test_locked_file_is_written_when_the_lock_is_gone(path: Path) -> None:
    clock = Clock()
    with HistoryWriter(path, clock=clock) as writer:
        writer.begin(LaunchRow(T, "runner"))
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert not fill(writer, 1)
        assert "locked" in str(writer.error)
        other.execute("ROLLBACK")
        other.close()
        clock.now += 2
        assert fill(writer, 1, start=1)
    with open_history(path) as history:
        assert len(history.readings(KEYS[0], T, T + 9)) == 2


@pytest.mark.parametrize("journal", ["wal", "truncate"])
def test_sigkill_of_the_writer_loses_nothing_that_was_committed(path: Path, journal: str) -> None:
    code = (
        "import sys, itertools, time; from pathlib import Path\n"
        "from pylon.recorder.history import *; from pylon.recorder.history import database\n"
        "import pylon.recorder.history.writer as module\n"
        "database.WITH_WAL = database.WITH_WAL if sys.argv[2] == 'wal' else frozenset()\n"
        "module._TRUNCATE_EVERY_S = 0\n"
        "key = SeriesKey('localhost', '', 'cpu')\n"
        "writer = HistoryWriter(Path(sys.argv[1])); assert writer.journal == sys.argv[2], writer.journal\n"
        f"writer.begin(LaunchRow({T}, 'runner'))\n"
        "for second in itertools.count():\n"
        f"    writer.sample({T} + second, [(key, 1.0, None)]); assert writer.commit()\n"
        "    print(second, flush=True)\n"
    )
    command = [sys.executable, "-c", code, str(path), journal]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        seen, read = -1, 0
        for line in other.stdout:
            seen = int(line)
            if seen % 20 == 10:
                with open_history(path) as history:
                    last = history.last_sample_at()
                    assert last is not None
                    assert last >= T + read
                    read = int(last - T)
            if seen >= 70:
                other.send_signal(signal.SIGKILL)
                break
        rest = other.stdout.read().split()
    seen = max([seen, *(int(one) for one in rest[:-1])])
    for _ in range(2):
        with open_history(path) as history:
            assert len(history.readings(SeriesKey("localhost", "", "cpu"), T, T + 10**6)) >= seen + 1
    with HistoryWriter(path) as writer:
        assert writer.set_aside is None
        assert writer.begin(LaunchRow(T + 10**6, "runner")) == 2


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "9p", "virtiofs", "lustre", None])
def test_file_system_of_other_machines_gets_a_rollback_journal(
    path: Path, kind: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pylon.recorder.history.database.file_system", lambda _: kind)
    clock = Clock()
    with HistoryWriter(path, clock=clock) as writer:
        assert writer.journal == "truncate"
        writer.begin(LaunchRow(T, "runner"))
        assert not fill(writer, 3), "transactions that wait for the disk are few"
        clock.now += 6
        assert fill(writer, 1, start=3)
        assert not path.with_name("history.sqlite-wal").exists()
        with open_history(path) as history:
            assert len(history.readings(KEYS[0], T, T + 9)) == 4


def test_file_in_wal_mode_that_was_moved_there_changes_its_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with HistoryWriter(path) as writer:
        assert writer.journal == "wal"
        writer.begin(LaunchRow(T, "runner"))
    monkeypatch.setattr("pylon.recorder.history.database.file_system", lambda _: "nfs")
    with HistoryWriter(path) as writer:
        assert writer.journal == "truncate"
        writer.begin(LaunchRow(T, "runner"))
    with open_history(path) as history:
        assert len(history.launches()) == 2


@pytest.mark.parametrize("missing", ["flock", "lockf"])
def test_file_system_without_locks_carries_a_record(
    path: Path, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(place.fcntl, missing, refuse)
    with HistoryWriter(path) as writer:
        assert writer.journal == "truncate"
        writer.begin(LaunchRow(T, "runner"))
        with open_history(path) as history:
            assert len(history.launches()) == 1


def test_overlay_is_what_its_upper_layer_is_on(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pylon.recorder.history.place import file_system\n"
        "print(file_system(Path(sys.argv[1])))"
    )
    layers = 'mount -t tmpfs none "$1"; mkdir "$1/l" "$1/u" "$1/w" "$1/m"'
    overlay = 'mount -t overlay -o lowerdir="$1/l",upperdir="$1/u",workdir="$1/w" none "$1/m"'
    done = subprocess.run(
        [
            *("unshare", "-m", "sh", "-c", f'{layers} && {overlay} && exec "$2" -c "$3" "$1/m"', "sh"),
            *(str(tmp_path), sys.executable, code),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode and ("unshare" in done.stderr or "mount" in done.stderr):
        pytest.skip(f"needs a mount namespace and overlayfs: {done.stderr.strip()}")
    assert done.stdout == "tmpfs\n", done.stderr


@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_mount_that_is_not_shown_has_the_type_that_the_kernel_reports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    folder = Path("/dev/shm") if kind == "tmpfs" else tmp_path
    if place.file_system(folder) != kind:
        pytest.skip(f"{folder} is no {kind} here")
    monkeypatch.setattr(place, "_type_of", lambda *_: (None, ""))
    assert place.file_system(folder) == kind


def test_type_of_a_file_system_is_read_from_its_mount(tmp_path: Path) -> None:
    assert place.file_system(Path("/proc")) == "proc"
    assert place.file_system(tmp_path) not in {None, "proc"}
    assert place.file_system(tmp_path / "absent") is None
