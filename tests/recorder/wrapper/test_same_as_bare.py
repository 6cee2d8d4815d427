"""A command under `pylon run` behaves as the bare command: both are run, and what can be seen is compared."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pylon.recorder.channel import VARIABLE

REPOSITORY = Path(__file__).resolve().parents[3]
WRAPPER = [sys.executable, "-m", "pylon", "run", "--quiet", "--"]
WITHIN_S = 30

Outcome = tuple[int, bytes, bytes]


def environment() -> dict[str, str]:
    common = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "HOME": "/"}
    return {**common, VARIABLE: os.environ[VARIABLE]}


def run(words: list[str], cwd: Path, **options: object) -> Outcome:
    settings = {"stdin": subprocess.DEVNULL, "env": environment(), **options}
    if "input" in settings:
        del settings["stdin"]
    done = subprocess.run(words, cwd=cwd, capture_output=True, timeout=WITHIN_S, check=False, **settings)
    return done.returncode, done.stdout, done.stderr


def same(words: list[str], cwd: Path, **options: object) -> Outcome:
    """What the command does, bare and wrapped."""
    bare = run(words, cwd, **options)
    assert run([*WRAPPER, *words], cwd, **options) == bare
    return bare


def same_in_shell(script: str, cwd: Path, shell: str = "bash", **options: object) -> Outcome:
    """What a script does in which `W` is before the command, with and without the wrapper there."""
    bare = run([shell, "-c", script.replace("W ", "")], cwd, **options)
    wrapped = script.replace("W ", " ".join(WRAPPER) + " ")
    assert wrapped != script
    assert run([shell, "-c", wrapped], cwd, **options) == bare
    return bare


@pytest.mark.parametrize("code", [0, 1, 2, 77, 255])
def test_exit_code(code: int, tmp_path: Path) -> None:
    assert same(["sh", "-c", f"exit {code}"], tmp_path)[0] == code


@pytest.mark.parametrize(
    "name", ["KILL", "SEGV", "TERM", "INT", "QUIT", "ABRT", "HUP", "USR1", "PIPE", "RTMIN"]
)
def test_death_by_a_signal_is_one(name: str, tmp_path: Path) -> None:
    number = getattr(signal, f"SIG{name}")
    assert same(["sh", "-c", f"kill -{int(number)} $$"], tmp_path)[0] == -number
    assert not list(tmp_path.iterdir()), "no core file"


def test_shell_shows_128_and_the_signal(tmp_path: Path) -> None:
    assert same_in_shell("{ W sh -c 'kill -9 $$'; } 2>/dev/null; echo $?", tmp_path)[1] == b"137\n"


def test_command_that_is_absent_is_127_and_one_that_is_no_program_126(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    for name, code, text in (
        ("absent-command", 127, "pylon run: absent-command: command not found\n"),
        ("./absent", 127, "pylon run: ./absent: No such file or directory\n"),
        ("./text", 126, "pylon run: ./text: Permission denied\n"),
        ("/", 126, "pylon run: /: Permission denied\n"),
    ):
        assert run([*WRAPPER, name], tmp_path) == (code, b"", text.encode())
        assert run(["sh", "-c", name], tmp_path)[0] == code


def test_script_without_an_interpreter_line_is_run_by_the_shell(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo $1 $#; exit 3\n")
    script.chmod(0o755)
    assert run([*WRAPPER, "./script", "a b", "c"], tmp_path) == (3, b"a b 2\n", b"")


def test_command_is_found_by_path_past_files_that_are_no_programs(tmp_path: Path) -> None:
    for folder, mode in (("first", 0o644), ("second", 0o755)):
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "mine"
        program.write_text("#!/bin/sh\necho found\n")
        program.chmod(mode)
    variables = {**environment(), "PATH": f"{tmp_path}/first:{tmp_path}/second:/usr/bin:/bin"}
    assert same(["mine"], tmp_path, env=variables)[:2] == (0, b"found\n")


def test_standard_input_is_the_commands_to_the_byte(tmp_path: Path) -> None:
    content = bytes(range(256)) * 4096
    assert same(["cat"], tmp_path, input=content) == (0, content, b"")
    assert same_in_shell("printf 'one\\ntwo\\n' | { W head -c 4; cat; }", tmp_path)[1] == b"one\ntwo\n"


@pytest.mark.parametrize(
    "arguments", [["--", "-x", "--quiet"], ["", "a b", "*", "$HOME", "\\"], [os.fsdecode(b"\xff\xfe")]]
)
def test_arguments_arrive_as_they_are(arguments: list[str], tmp_path: Path) -> None:
    shown = same(["sh", "-c", 'printf "<%s>" "$@"', "sh", *arguments], tmp_path)[1]
    assert shown == b"".join(b"<" + os.fsencode(one) + b">" for one in arguments)


def test_environment_is_as_it_was(tmp_path: Path) -> None:
    # In the locale C the interpreter sets LC_CTYPE, also for what it starts.
    variables = {**environment(), "LANG": "C", "odd name": "=", os.fsdecode(b"BYTES"): os.fsdecode(b"\xff\n")}
    shown = same(["env", "-0"], tmp_path, env=variables)[1].split(b"\0")
    assert b"BYTES=\xff\n" in shown
    assert not [one for one in shown if one.startswith(b"LC_")]


def test_folder_limits_priority_mask_and_groups_are_as_they_were(tmp_path: Path) -> None:
    shown = (
        "pwd; umask; ulimit -n; nice; ps -o pgid=,sid=,tty= -p $$ | { read p s t; test $p = $s && echo $t; }"
    )
    script = f"ulimit -n 77; umask 27; W sh -c '{shown}'"
    (tmp_path / "script").write_text(script)
    bare, wrapped = (
        run(["setsid", "--wait", "nice", "-n", "5", "bash", "-c", f"{one}; exit $?"], tmp_path)
        for one in (script.replace("W ", ""), script.replace("W ", " ".join(WRAPPER) + " "))
    )
    nice = os.nice(0) + 5
    assert wrapped == bare == (0, f"{tmp_path}\n0027\n77\n{nice}\n?\n".encode(), b"")


@pytest.mark.parametrize(
    "before",
    [
        "true",
        "trap '' INT QUIT HUP TERM",
        "trap '' PIPE",
        "trap '' CHLD",
        "trap '' XFSZ TSTP TTOU",
        "trap 'echo no' TERM PIPE",
    ],
)
@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_ignored_and_blocked_signals_are_as_they_were(before: str, shell: str, tmp_path: Path) -> None:
    # A shell becomes the last command of its line.
    script = f"{before}; W grep -E '^(Sig(Blk|Ign|Cgt)|ShdPnd)' /proc/self/status; exit $?"
    assert same_in_shell(script, tmp_path, shell)[0] == 0


def test_signals_ignored_in_the_background_of_a_script(tmp_path: Path) -> None:
    shown = same_in_shell("W grep SigIgn /proc/self/status & wait", tmp_path, "dash")[1]
    assert int(shown.split()[1], 16) & 0b110 == 0b110


def test_signals_that_a_program_blocks_stay_blocked(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, {10, 40});"
        "os.execvp(sys.argv[1], sys.argv[1:])"
    )
    words = ["grep", "SigBlk", "/proc/self/status"]
    shown = run([sys.executable, "-c", code, *words], tmp_path)[1]
    assert int(shown.split()[1], 16) == 1 << 9 | 1 << 39
    assert run([sys.executable, "-c", code, *WRAPPER, *words], tmp_path)[1] == shown


def test_nohup(tmp_path: Path) -> None:
    script = "nohup W sh -c 'kill -HUP $$; echo still here'"
    assert same_in_shell(script, tmp_path)[:2] == (0, b"still here\n")


@pytest.mark.parametrize("closed", ["0", "1", "2", "012"])
def test_closed_standard_streams_are_closed_for_the_command(closed: str, tmp_path: Path) -> None:
    closing = " ".join(f"{number}{'<' if number == '0' else '>'}&-" for number in closed)
    shown = "for n in 0 1 2; do test -e /proc/$$/fd/$n && echo $n >&9; done; exit 4"
    script = f"exec 9>&1; W sh -c '{shown}' {closing}"
    code, numbers, _ = same_in_shell(script, tmp_path)
    assert code == 4
    assert numbers.split() == [number.encode() for number in "012" if number not in closed]


def test_further_descriptors_are_inherited(tmp_path: Path) -> None:
    script = "exec 5<<<five 7>seven; W sh -c 'cat <&5; echo out >&7'; cat seven"
    assert same_in_shell(script, tmp_path)[1] == b"five\nout\n"
    assert same_in_shell("W cat <(echo substituted)", tmp_path)[1] == b"substituted\n"


def test_command_whose_reader_goes_ends_by_sigpipe(tmp_path: Path) -> None:
    assert same_in_shell("W yes | head -n 1; echo ${PIPESTATUS[0]}", tmp_path)[1] == b"y\n141\n"
    assert same_in_shell("yes | W head -n 1; echo ${PIPESTATUS[0]}", tmp_path)[1] == b"y\n141\n"


@pytest.mark.parametrize("closing", ["exec >&-", "exec 7>&-"])
def test_reader_sees_the_end_when_the_command_closes_its_output(closing: str, tmp_path: Path) -> None:
    number = closing.partition(">")[0].removeprefix("exec ") or "1"
    fifo = tmp_path / "go"
    os.mkfifo(fifo)
    # The reader ends first, and lets the command end.
    script = f"W sh -c 'echo x >&{number}; {closing}; read x <go; echo late >&2' {number}>&1 "
    script += "1>/dev/null " if number == "7" else ""
    script += "| { cat; echo end; echo >go; }"
    code, shown, errors = same_in_shell(script, tmp_path)
    assert (code, shown, errors) == (0, b"x\nend\n", b"late\n")


def test_writer_sees_the_end_when_the_command_closes_its_input(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "go")
    script = "{ yes; echo $? >&2; echo >go; } | W sh -c 'exec <&-; read x <go; echo late'"
    assert same_in_shell(script, tmp_path) == (0, b"late\n", b"141\n")


def test_script_ends_if_its_command_dies_of_ctrl_c_and_goes_on_after_exit_130(tmp_path: Path) -> None:
    # Bash ends by SIGINT if it got one and its command died of one.
    for how, code, shown in (("kill -INT $$", -signal.SIGINT, b""), ("exit 130", 0, b"goes on\n")):
        script = f"W bash -c 'trap : INT; kill -INT 0; trap - INT; {how}'; echo goes on"
        for one in (script.replace("W ", ""), script.replace("W ", " ".join(WRAPPER) + " ")):
            assert run(["setsid", "--wait", "bash", "-c", one], tmp_path)[:2] == (code, shown)


def started(words: list[str], cwd: Path, **options: object) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        words, cwd=cwd, env=environment(), stdout=subprocess.PIPE, start_new_session=True, **options
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def counted(send: Callable[[subprocess.Popen[bytes]], None], wrapped: bool, cwd: Path) -> list[bytes]:
    code = (
        "import collections, signal\n"
        "numbers = {1, 2, 10, 12, 15, 18, 28}\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, numbers)\n"
        "print('ready', flush=True)\n"
        "seen = [signal.sigtimedwait(numbers, 20).si_signo]\n"
        "while (one := signal.sigtimedwait(numbers, 0.15)): seen.append(one.si_signo)\n"
        "print(*sorted(seen))\n"
    )
    words = [sys.executable, "-I", "-S", "-c", code]
    words = ["sh", "-c", 'exec "$@" <&-', "sh", *([*WRAPPER, *words] if wrapped else words)]
    process = started(words, cwd)
    send(process)
    shown, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0
    return shown.split()


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("to", ["process", "group", "each"])
def test_signal_arrives_once_however_it_is_sent_also_with_standard_input_closed(
    to: str, wrapped: bool, tmp_path: Path
) -> None:
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGTERM, signal.SIGWINCH)

    def send(process: subprocess.Popen[bytes]) -> None:
        group = subprocess.run(["pgrep", "-g", str(process.pid)], capture_output=True, check=True)
        members = [int(pid) for pid in group.stdout.split()]
        assert len(members) == (3 if wrapped else 1)
        for number in numbers:
            if to == "process":
                process.send_signal(number)
            elif to == "group":
                os.killpg(process.pid, number)
            else:
                for pid in members:
                    os.kill(pid, number)

    assert counted(send, wrapped, tmp_path) == sorted((b"%d" % one for one in numbers), key=int)


def test_timeout_and_its_second_signal(tmp_path: Path) -> None:
    assert same(["sleep", "0.1"], tmp_path)[0] == 0
    words = ["timeout", "0.5", *WRAPPER, "sleep", "20"]
    assert run(words, tmp_path)[0] == run(["timeout", "0.1", "sleep", "20"], tmp_path)[0] == 124


def ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_until(true: Callable[[], bool], what: str) -> None:
    until_s = time.monotonic() + WITHIN_S
    while not true():
        assert time.monotonic() < until_s, what
        time.sleep(0.01)


def test_sigkill_to_the_wrapper_kills_the_command(tmp_path: Path) -> None:
    process = started([*WRAPPER, "sh", "-c", "echo ready; exec sleep 60"], tmp_path)
    members = subprocess.run(
        ["pgrep", "-g", str(process.pid)], capture_output=True, check=True
    ).stdout.split()
    process.kill()
    process.communicate(timeout=WITHIN_S)
    wait_until(lambda: all(ended(int(pid)) for pid in members), "all have ended")
    assert process.returncode == -signal.SIGKILL
