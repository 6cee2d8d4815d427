"""`pylon run --keep-stderr`: the last lines of a terminal or a pipe, which the command does not notice."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pexpect

from pylon.recorder.channel import VARIABLE
from tests.recorder.wrapper.conftest import Above

REPOSITORY = Path(__file__).resolve().parents[3]
RUN = [sys.executable, "-m", "pylon", "run", "--quiet", "--keep-stderr", "--"]
SHOWS = """\
import os, signal, sys
print("is", os.isatty(2), os.get_terminal_size(2).columns, file=sys.stderr, flush=True)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
input()
print("is", os.isatty(2), os.get_terminal_size(2).columns, file=sys.stderr, flush=True)
"""


def environment() -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), VARIABLE: os.environ[VARIABLE]}


def shell(script: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["sh", "-c", script, "sh", *RUN],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        timeout=30,
        check=False,
    )


def kept(above: Above) -> str | None:
    (left,) = (mark for mark in above.marks() if mark.kind == "left")
    return left.detail["last_lines"]


def test_pipe_gets_every_byte_and_its_end_is_kept(above: Above, tmp_path: Path) -> None:
    done = shell("\"$@\" sh -c 'seq 100000 >&2; exit 3'", tmp_path)
    expected = "".join(f"{number}\n" for number in range(1, 100001))
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.decode() == expected
    assert kept(above) == expected[-8192:]


def test_terminal_stays_one_with_its_width(above: Above, tmp_path: Path) -> None:
    terminal = pexpect.spawn(
        RUN[0],
        [*RUN[1:], sys.executable, "-I", "-S", "-c", SHOWS],
        cwd=tmp_path,
        env=environment(),
        encoding="utf-8",
        dimensions=(30, 99),
        timeout=20,
    )
    terminal.expect("is True 99\r\n")
    terminal.setwinsize(30, 55)
    time.sleep(0.2)
    terminal.sendline("")
    terminal.expect("is True 55\r\n")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert kept(above) == "is True 99\nis True 55\n"


def test_closed_and_file_need_nothing_in_between(above: Above, tmp_path: Path) -> None:
    assert shell("\"$@\" sh -c 'test -e /proc/$$/fd/2' 2>&-", tmp_path).returncode == 1
    assert (
        shell("\"$@\" sh -c 'readlink /proc/$$/fd/2' 2>log", tmp_path).stdout == f"{tmp_path}/log\n".encode()
    )


def test_command_whose_reader_goes_ends(above: Above, tmp_path: Path) -> None:
    done = shell("\"$@\" sh -c 'yes >&2; echo $?' 2>&1 >code | head -c 4", tmp_path)
    assert done.stdout == b"y\ny\n"
    # By SIGPIPE, as without.
    assert (tmp_path / "code").read_text() == "141\n"


def test_process_that_keeps_writing_does_not_hold_up_the_end(above: Above, tmp_path: Path) -> None:
    begin_s = time.monotonic()
    script = "\"$@\" sh -c 'echo last >&2; sleep 5 >/dev/null & echo $! >pid' 2>&1 | head -n 1"
    done = shell(script, tmp_path)
    try:
        assert done.stdout == b"last\n"
        assert time.monotonic() - begin_s < 4
        assert kept(above) == "last\n"
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)
