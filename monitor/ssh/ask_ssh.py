"""Asks OpenSSH for its configuration of a server: `ssh -G`, which connects to nothing."""

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import BoundedSemaphore

from pylon.monitor.errors import MonitorSettingError
from pylon.monitor.ssh.answer import Answer
from pylon.monitor.ssh.server_name import ServerName
from pylon.monitor.ssh.texts import printable

_LARGEST_OUTPUT_BYTES = 2**20
_LOOK_S = 0.05
# More at once is no faster: an answer takes some 5 ms of one core.
_AT_ONCE = 4
_READ = re.compile(r"debug1: Reading configuration data (.+)")
_BY_ITSELF = re.compile(r"debug[123]: (?:Executing command: |resolve_canonicalize|canonicalized )")
_NOISE = re.compile(r"debug[123]: |Pseudo-terminal |OpenSSH_|Cannot forward agent ")


class SSHRefusalError(MonitorSettingError):
    """ssh refuses a name or a line of its files.

    Attributes:
        files: those that it read so far.
    """

    def __init__(self, text: str, files: tuple[Path, ...]) -> None:
        super().__init__(text)
        self.files = files


class SSHProgram:
    """OpenSSH's client, asked for its settings. Used by any thread.

    Not for the training process: it starts a process, and a `Match exec` starts what the user wrote.

    Args:
        program: its path.
        config: the file in the place of ~/.ssh/config and the system's, as `ssh -F` takes it; None: those.
        environment: variables for it.
        timeout_s: for one question.
    """

    def __init__(
        self, program: str, config: Path | None, environment: Mapping[str, str], timeout_s: float = 10.0
    ) -> None:
        self._program = program
        self._config = config
        self._environment = {**environment, "LC_ALL": "C", "SSH_ASKPASS_REQUIRE": "never"}
        self._timeout_s = timeout_s
        self._turns = BoundedSemaphore(_AT_ONCE)

    def ask(self, name: ServerName) -> Answer:
        """What it answers about `name`.

        Raises:
            SSHRefusalError: it refuses the name or a line of its files.
            MonitorSettingError: it cannot be run or does not answer in time.
        """
        # -vvv names the files on standard error; in no other way can we know them all.
        command = [self._program, "-vvv", "-G"]
        command += [] if self._config is None else ["-F", str(self._config)]
        command += [] if name.user is None else ["-l", name.user]
        command += [] if name.port is None else ["-p", str(name.port)]
        with self._turns:
            status, output, errors = _run(
                [*command, "--", name.host], self._environment, self._timeout_s, str(name)
            )
        words = errors.decode("utf-8", "surrogateescape").split("\n")
        if status != 0:
            raise SSHRefusalError(_refusal(name, words, status), _files(words))
        return _answer(output.decode("utf-8", "surrogateescape"), words)


def _refusal(name: ServerName, words: list[str], status: int) -> str:
    reasons = [one.strip() for one in words if one.strip() and _NOISE.match(one) is None]
    if any("bad configuration option" in one for one in reasons):
        # The same for every name: ssh reads all lines of its files for each.
        text = printable("; ".join(one for one in reasons if "terminating, " not in one))
        return f"ssh_config: {text}. Expected lines that ssh understands."
    text = printable("; ".join(reasons)) or f"status {status}"
    return f"ssh_config: ssh refuses {str(name)!r}: {text}. Expected a name that 'ssh -G' takes."


def _answer(output: str, words: list[str]) -> Answer:
    values: dict[str, list[str]] = {}
    for line in output.rstrip("\n").split("\n"):
        keyword, _, value = line.partition(" ")
        values.setdefault(keyword.lower(), []).append(value)
    return Answer(
        {keyword: tuple(found) for keyword, found in values.items()},
        _files(words),
        any(_BY_ITSELF.match(one) for one in words)
        or (values.get("canonicalizehostname") or ["false"])[0] not in {"false", "no"},
    )


def _files(words: list[str]) -> tuple[Path, ...]:
    return tuple(dict.fromkeys(Path(match.group(1)) for one in words if (match := _READ.match(one))))


def _run(
    command: list[str], environment: Mapping[str, str], timeout_s: float, name: str
) -> tuple[int, bytes, bytes]:
    """Its exit status, its output and what it wrote to standard error."""
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own: what a Match exec starts can be ended with it.
            start_new_session=True,
            env=environment,
        )
    except OSError as error:
        raise MonitorSettingError(f"ssh_config: {command[0]} cannot be run: {error}.") from error
    try:
        return _collected(process, timeout_s, name)
    finally:
        # Not waited for yet in the case of an error: until then the number of its group is its own.
        if process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for pipe in (process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _collected(process: "subprocess.Popen[bytes]", timeout_s: float, name: str) -> tuple[int, bytes, bytes]:
    if process.stdout is None or process.stderr is None:
        raise MonitorSettingError("ssh_config: the pipes to ssh -G are missing.")
    until_s = time.monotonic() + timeout_s
    content = {process.stdout.fileno(): b"", process.stderr.fileno(): b""}
    poll = select.poll()
    for number in content:
        os.set_blocking(number, False)
        poll.register(number, select.POLLIN)
    unended = set(content)
    while unended:
        # What a Match exec left behind may hold the pipes: the end of ssh itself counts too.
        ended = process.poll() is not None
        for number, _ in poll.poll(0 if ended else _LOOK_S * 1000):
            chunk = os.read(number, 65536)
            content[number] += chunk
            if not chunk:
                unended.discard(number)
                poll.unregister(number)
            elif len(content[number]) > _LARGEST_OUTPUT_BYTES:
                raise MonitorSettingError(
                    f"ssh_config: ssh -G {name} writes more than {_LARGEST_OUTPUT_BYTES} bytes."
                )
            else:
                ended = False
        if ended:
            break
        if time.monotonic() >= until_s:
            raise MonitorSettingError(
                f"ssh_config: ssh -G {name} took longer than {timeout_s:g} s: a program that a Match exec"
                " names, or the name resolution, hangs."
            )
    output, errors = content.values()
    try:
        return process.wait(max(_LOOK_S, until_s - time.monotonic())), output, errors
    except subprocess.TimeoutExpired:
        raise MonitorSettingError(f"ssh_config: ssh -G {name} does not end.") from None
