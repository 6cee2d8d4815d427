"""`pylon run` at a terminal, in the shells that people use: Ctrl-C, Ctrl-Z, fg, bg, kill %1, window size."""

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from pylon.recorder.channel import VARIABLE

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[3]
WITHIN_S = 6
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "dash": ["dash", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
PROMPT = {
    "bash": 'PS1="ready""> "; bind "set enable-bracketed-paste off"',
    "dash": 'PS1="ready""> "',
    "zsh": 'PS1="ready""> "; unsetopt zle_bracketed_paste prompt_sp',
    "fish": 'function fish_prompt; printf "ready%s " ">"; end',
}
STATUS = {"fish": "echo code=$status"}
JOB = {"fish": "(jobs -lp)"}
# Shows each signal that it gets, and ends by SIGQUIT.
SHOWS_SIGNALS = """\
import os, shutil, signal
numbers = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGWINCH, signal.SIGCONT}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print("begins", os.isatty(0), os.isatty(1), os.isatty(2), os.tcgetpgrp(0) == os.getpgrp(), flush=True)
while True:
    number = signal.sigwait(numbers)
    print(f"got={number.name}", shutil.get_terminal_size().columns, flush=True)
"""


class Terminal:
    """A shell in a terminal, in which `W` runs a command under `pylon run`."""

    def __init__(self, shell: str, folder: Path) -> None:
        self.shell = shell
        wrapper = folder / "W"
        wrapper.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pylon run --quiet -- "$@"\n')
        wrapper.chmod(0o755)
        (folder / "signals.py").write_text(SHOWS_SIGNALS)
        (folder / "python").symlink_to(sys.executable)
        environment = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "PYTHONPATH": str(REPOSITORY),
            "HOME": str(folder),
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            VARIABLE: os.environ[VARIABLE],
        }
        command, *arguments = SHELLS[shell]
        self.program = pexpect.spawn(
            command, arguments, cwd=folder, env=environment, timeout=WITHIN_S, encoding="utf-8", echo=False
        )
        self.program.sendline(PROMPT[shell])
        self.expect("ready> ")

    def line(self, text: str) -> None:
        self.program.sendline(text)

    def expect(self, pattern: str) -> re.Match[str]:
        self.program.expect(pattern)
        match = self.program.match
        assert isinstance(match, re.Match)
        return match

    def status(self) -> str:
        """The last command's exit code."""
        self.line(STATUS.get(self.shell, "echo code=$?"))
        code = self.expect(r"code=(\d+)")[1]
        self.expect("ready> ")
        return code

    def press(self, key: str) -> None:
        self.program.sendcontrol(key)

    def processes(self) -> list[int]:
        """The shell's job: wrapper, witness and command."""
        job = psutil.Process(self.program.pid).children()
        return [one.pid for one in job] + [child.pid for one in job for child in one.children()]


@pytest.fixture(params=sorted(SHELLS))
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    if shutil.which(request.param) is None:
        if os.environ.get("PYLON_REQUIRE_SHELLS") == "1":
            pytest.fail(f"{request.param} is not installed")
        pytest.skip(f"{request.param} is not installed")
    opened = Terminal(request.param, tmp_path)
    yield opened
    opened.program.close(force=True)


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


def wait_until_states(pids: list[int], expected: set[str]) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not {state(pid) for pid in pids} <= expected:
        assert time.monotonic() < until_s, {pid: state(pid) for pid in pids}
        time.sleep(0.01)


def wait_until_stopped(terminal: Terminal) -> None:
    """Until wrapper and command are, and the witness, which never is, has nothing to do."""
    until_s = time.monotonic() + WITHIN_S
    while sorted(state(pid) for pid in terminal.processes()) != ["S", "T", "T"]:
        assert time.monotonic() < until_s, [(pid, state(pid)) for pid in terminal.processes()]
        time.sleep(0.02)


def test_keys_and_window_size_reach_the_command_once(terminal: Terminal) -> None:
    terminal.line("W python -I -S signals.py")
    terminal.expect("begins True True True True")
    terminal.press("c")
    terminal.expect(r"got=SIGINT")
    terminal.program.setwinsize(33, 77)
    terminal.expect(r"got=SIGWINCH 77")
    terminal.press("c")
    terminal.expect(r"got=SIGINT")
    terminal.program.sendcontrol("\\")
    terminal.expect("ready> ")
    # In between was nothing else.
    assert "got=" not in str(terminal.program.before)
    assert terminal.status() == str(128 + signal.SIGQUIT)


def test_ctrl_c_ends_the_command_and_its_code_is_130(terminal: Terminal) -> None:
    terminal.line("W sh -c 'echo begins=$$; exec sleep 60'")
    terminal.expect(r"begins=\d")
    terminal.press("c")
    terminal.expect("ready> ")
    assert terminal.status() == "130"


def test_ctrl_z_stops_all_and_fg_and_bg_continue(terminal: Terminal) -> None:
    terminal.line("W python -I -S signals.py")
    terminal.expect("begins")
    terminal.press("z")
    terminal.expect("ready> ")
    wait_until_stopped(terminal)
    pids = terminal.processes()
    terminal.line("fg")
    terminal.expect("got=SIGCONT")
    wait_until_states(pids, {"S"})
    terminal.press("z")
    terminal.expect("ready> ")
    terminal.line("bg")
    terminal.expect("got=SIGCONT")
    wait_until_states(pids, {"S"})
    job = JOB.get(terminal.shell, "%1")
    terminal.line(f"kill -USR1 {job}")
    terminal.expect("got=SIGUSR1")
    terminal.line(f"kill -9 {job}")
    wait_until_states(pids, {"gone", "Z"})
    assert "got=" not in str(terminal.program.before)


def test_command_in_the_background_that_reads_is_stopped_until_fg(terminal: Terminal) -> None:
    terminal.line("W sh -c 'read line; echo read=$line' &")
    terminal.expect("ready> ")
    wait_until_stopped(terminal)
    terminal.line("fg")
    time.sleep(0.3)
    terminal.line("some text")
    terminal.expect("read=some text")


@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_command_that_is_stopped_and_then_continued_or_killed_alone(then: int, terminal: Terminal) -> None:
    terminal.line("W sh -c 'echo begins=$$; exec sleep 60'")
    pid = int(terminal.expect(r"begins=(\d+)")[1])
    os.kill(pid, signal.SIGSTOP)
    # As for the bare command, the shell is back.
    terminal.expect("ready> ")
    wrapper, *_ = terminal.processes()
    assert state(wrapper) == "T"
    os.kill(pid, then)
    wait_until_states([wrapper], {"S"} if then == signal.SIGCONT else {"gone", "Z"})
    if then == signal.SIGCONT:
        os.kill(pid, signal.SIGTERM)
        wait_until_states([wrapper], {"gone", "Z"})


def test_closed_terminal_hangs_up_the_command(terminal: Terminal) -> None:
    terminal.line("W sh -c 'echo begins=$$; exec sleep 60'")
    pid = int(terminal.expect(r"begins=(\d+)")[1])
    pids = [*terminal.processes(), pid]
    terminal.program.close(force=True)
    wait_until_states(pids, {"gone", "Z"})


def test_pipeline_and_nested_shell(terminal: Terminal) -> None:
    terminal.line("printf 'c\\nb\\na\\n' | W sort | W head -n 1")
    terminal.expect("a\r\n")
    terminal.expect("ready> ")
    # A shell under the wrapper has the terminal and its own jobs.
    terminal.line("W bash --norc --noprofile -i")
    terminal.line('PS1="inner""> "')
    terminal.expect("inner> ")
    terminal.line("sleep 60")
    time.sleep(0.2)
    terminal.press("z")
    terminal.expect("Stopped")
    terminal.line("kill -9 %1; exec sh -c 'exit 5'")
    terminal.expect("ready> ")
    assert terminal.status() == "5"
