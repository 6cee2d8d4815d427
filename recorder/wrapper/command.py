"""Start a command as a shell does: found by PATH, with what this process has inherited."""

import errno
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from pylon.recorder.wrapper.inheritance import Inheritance
from pylon.recorder.wrapper.kernel import die_with

NOT_FOUND = 127
NOT_EXECUTABLE = 126


class CommandError(Exception):
    """The command cannot be started.

    Attributes:
        exit_code: as a shell has it: 127 if there is no such file, else 126.
    """

    def __init__(self, name: str, number: int) -> None:
        self.exit_code = NOT_FOUND if number == errno.ENOENT else NOT_EXECUTABLE
        missing = number == errno.ENOENT and "/" not in name
        super().__init__(f"{name}: {'command not found' if missing else os.strerror(number)}")


def start(words: Sequence[str], inheritance: Inheritance, error_output: int | None = None) -> int:
    """The process id of the command, which is running when this returns.

    Call it while this process has one thread and blocks all signals.

    Args:
        words: the command and its arguments.
        inheritance: what it gets.
        error_output: its standard error; None: that of this process.

    Raises:
        CommandError: it cannot be executed.
        OSError: no process can be made.
    """
    arguments = [os.fsencode(word) for word in words]
    answer, question = os.pipe()
    parent_pid = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        os.close(answer)
        os.close(question)
        raise
    if pid == 0:
        _become(arguments, inheritance, parent_pid, question, error_output)
    os.close(question)
    with os.fdopen(answer, "rb") as reader:
        failure = reader.read()
    if not failure:
        return pid
    os.waitpid(pid, 0)
    raise CommandError(words[0], int(failure))


def _become(
    arguments: list[bytes],
    inheritance: Inheritance,
    parent_pid: int,
    question: int,
    error_output: int | None,
) -> None:
    number = errno.ENOEXEC
    try:
        die_with(parent_pid)
        if error_output is not None:
            os.dup2(error_output, 2)
        for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(one, signal.SIG_IGN if one in inheritance.ignored else signal.SIG_DFL)
        # What came since the start is delivered here, as it would have been to the command.
        signal.pthread_sigmask(signal.SIG_SETMASK, inheritance.blocked)
        number = _execute(arguments, inheritance.environment.get(b"PATH", os.defpath.encode()), inheritance)
    finally:
        # An exception must never run the rest of the parent's program.
        os.write(question, b"%d" % number)
        os._exit(NOT_EXECUTABLE)


def _execute(arguments: list[bytes], path: bytes, inheritance: Inheritance) -> int:
    """Become the command; the error number of why that is not possible.

    As execvp(3): a file that may not be executed is passed over, and reported if no later one may be.
    """
    name = arguments[0]
    folders = [b""] if b"/" in name else [folder or b"." for folder in path.split(b":")]
    found = errno.ENOENT
    for folder in folders:
        place = os.path.join(folder, name) if folder else name  # noqa: PTH118 - bytes, and "./x" stays "./x"
        try:
            os.execve(place, arguments, inheritance.environment)
        except OSError as error:
            number = error.errno or errno.ENOEXEC
        if number == errno.ENOEXEC and Path(os.fsdecode(place)).is_file():
            number = _execute_script(place, arguments, inheritance)
        if number not in {errno.ENOENT, errno.ENOTDIR}:
            found = number
            if number != errno.EACCES:
                break
    return found


def _execute_script(place: bytes, arguments: list[bytes], inheritance: Inheritance) -> int:
    """A text without a `#!` line is a script for the shell, as for every shell."""
    try:
        os.execve(b"/bin/sh", [b"sh", place, *arguments[1:]], inheritance.environment)
    except OSError as error:
        return error.errno or errno.ENOEXEC
