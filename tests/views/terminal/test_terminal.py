"""`pylon watch` in a real terminal: what it shows, and that nothing of it stays, whatever ends it."""

import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

pytestmark = [pytest.mark.ci, pytest.mark.usefixtures("textual")]
WITHIN_S = 30
Start = Callable[..., pexpect.spawn]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    terminals = []

    def starting(*arguments: str, **environment: str) -> pexpect.spawn:
        known = {**os.environ, "TERM": "xterm-256color", "LANG": "C.UTF-8", "XDG_STATE_HOME": str(tmp_path)}
        terminal = pexpect.spawn(
            sys.executable,
            ["-m", "pylon", "watch", "--no-gpu", "--interval-s", "0.5", *arguments],
            env=known | environment,
            dimensions=(24, 80),
            timeout=WITHIN_S,
            encoding="utf-8",
        )
        terminals.append(terminal)
        return terminal

    yield starting
    for terminal in terminals:
        terminal.close(force=True)


def shown(terminal: pexpect.spawn) -> list[psutil.Process]:
    """Wait for the list; returns the processes of the monitors."""
    terminal.expect("localhost +ok")
    found = psutil.Process(terminal.pid).children(recursive=True)
    assert found
    return found


def all_gone(processes: list[psutil.Process]) -> bool:
    _, left = psutil.wait_procs(processes, timeout=15)
    return not left


def test_live_update_resize_and_q(start: Start) -> None:
    terminal = start()
    children = shown(terminal)
    clocks = set()
    for _ in range(3):
        terminal.expect(r"(\d\d:\d\d:\d\d)  1 server")
        clocks.add(terminal.match[1])
    assert len(clocks) >= 2, "the picture goes on"
    terminal.setwinsize(50, 200)
    terminal.expect("Net out")
    terminal.send("?")
    terminal.expect("this screen only reads")
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert "\x1b[?1049l" in terminal.before, "the terminal is as it was before"
    assert all_gone(children)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130), (signal.SIGKILL, None)],
)
def test_a_signal_ends_all_of_it(number: signal.Signals, code: int | None, start: Start) -> None:
    terminal = start()
    children = shown(terminal)
    os.kill(terminal.pid, number)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == code
    assert code is None or "\x1b[?1049l" in terminal.before
    assert all_gone(children)


def test_a_closed_terminal_ends_all_of_it(start: Start) -> None:
    terminal = start()
    main = psutil.Process(terminal.pid)
    children = shown(terminal)
    # In place of a close, which would leave the number to another file.
    os.dup2(os.open(os.devnull, os.O_RDWR), terminal.fileno())
    until = time.monotonic() + 15
    while main.is_running() and main.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert all_gone(children)


def test_ctrl_c_ends_it_and_no_colour_is_sent_if_none_is_wanted(start: Start) -> None:
    terminal = start(NO_COLOR="1", LC_ALL="C")
    children = shown(terminal)
    terminal.send("2")
    terminal.expect("no GPU")
    terminal.send("\x03")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus in {0, 130}
    assert not re.search(r"\x1b\[[\d;]*\b(3[0-7]|38;|4[0-7]|48;)", terminal.before)
    assert all_gone(children)


def test_without_textual_lines_are_shown_and_the_extra_is_named(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'textual' else find(name, *more)\n"
    )
    terminal = start(PYTHONPATH=str(tmp_path))
    terminal.expect("Ctrl-C ends")
    terminal.expect("localhost +ok")
    terminal.send("\x03")
    terminal.expect(r"needs the extra 'view'")
    terminal.expect(pexpect.EOF)


def test_an_error_of_the_screen_is_shown_and_leaves_the_terminal_sane(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "from pylon.views.terminal import drawing\n"
        "def broken(desk):\n"
        "    if desk.pane == 3:\n"
        "        raise ZeroDivisionError('broken on purpose')\n"
        "    return drawn(desk)\n"
        "drawn, drawing.screen = drawing.screen, broken\n"
    )
    terminal = start(PYTHONPATH=str(tmp_path))
    children = shown(terminal)
    terminal.send("4")
    terminal.expect(re.escape("\x1b[?1049l"))
    terminal.expect("broken on purpose")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 1
    assert all_gone(children)
