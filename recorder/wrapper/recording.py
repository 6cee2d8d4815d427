"""The record of a command. Whatever fails, the command runs, and one line states that it is not recorded."""

import contextlib
import logging
import os
import platform
import shlex
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pylon.masking import masked_words
from pylon.recorder.channel import VARIABLE, Channel, ChannelError, Sender
from pylon.recorder.node import announce, join_sibling, ranks_of
from pylon.recorder.wrapper.keeping import KeptErrors
from pylon.recorder.wrapper.output import ErrorFile, write_line
from pylon.recorder.wrapper.place import Place, given_place, name_of, new_place
from pylon.recorder.wrapper.waiting import Ended, children, is_pylons

if TYPE_CHECKING:
    from pylon.recorder.process.recorder import Recorder

HISTORY = "history.sqlite"
# All ranks wait for rank 0 anyway, as soon as they train together.
_SIBLING_WITHIN_S = 2.0
# A command that ends at once is recorded too: only then is the recorder still starting.
_RECORDER_WITHIN_S = 5.0
_REQUESTS = {
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU),
}


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for.

    Attributes:
        folder: of the record; None: a new one in `pylon-records`.
        name: None: the command's.
        quiet: do not print where the record is.
        verbose: list the processes that the command leaves.
        keep_errors: keep the last lines of a terminal or a pipe too.
        notify: addresses that alerts are sent to.
    """

    folder: Path | None = None
    name: str | None = None
    quiet: bool = False
    verbose: bool = False
    keep_errors: bool = False
    notify: tuple[str, ...] = ()


class Recording:
    """Joins the recorder above this process, or that of a sibling rank, or starts one.

    Args:
        words: the command.
        wishes: of the command line.
    """

    def __init__(self, words: Sequence[str], wishes: Wishes) -> None:
        self._words, self._wishes = words, wishes
        self._name = wishes.name or name_of(words)
        self._ranks = ranks_of(os.environ)
        self._errors: ErrorFile | KeptErrors = ErrorFile()
        self._place: Place | None = None
        self._folder: Path | None = None
        self._channel: Channel | None = None
        self._recorder: Recorder | None = None
        self._starter: threading.Thread | None = None
        self._reported = False

    def environment(self) -> dict[bytes, bytes]:
        """Variables for the command, known before it is started."""
        try:
            self._channel = Channel.of_process_tree(os.environ, self._ranks.rank)
            if self._channel is None:
                self._prepare()
        except (OSError, ChannelError, ValueError) as error:
            self._report(_words_of(error))
        if self._channel is None:
            return {}
        return {VARIABLE.encode(): self._channel.address.encode()}

    def error_output(self) -> int | None:
        """What the command gets as its standard error; None: the one that is there."""
        if self._wishes.keep_errors and isinstance(self._errors, ErrorFile) and self._errors.is_stream:
            with contextlib.suppress(OSError):
                self._errors = KeptErrors()
                return self._errors.descriptor
        return None

    def cancel(self) -> None:
        """The command cannot be started."""
        if self._place is not None:
            self._place.remove()

    def begin(self, pid: int) -> None:
        """The command runs as process `pid`."""
        self._guarded(lambda: self._begin(pid))

    def note_signal(self, number: int, sender_pid: int) -> None:
        """A signal has come, to the command too."""
        if number == signal.SIGWINCH and isinstance(self._errors, KeptErrors):
            self._errors.resize()
        if number in _REQUESTS:
            self._guarded(lambda: self._note_request(number, sender_pid))

    def end(self, ended: Ended) -> None:
        """It has ended."""
        self._guarded(lambda: self._end(ended))

    def _guarded(self, part: Callable[[], None]) -> None:
        try:
            part()
        except Exception as error:  # noqa: BLE001 - the end of the wrapper would be that of the command
            self._report(f"{type(error).__name__}: {error}")

    def _begin(self, pid: int) -> None:
        if isinstance(self._errors, KeptErrors):
            os.close(self._errors.descriptor)
        if self._channel is None:
            return
        if self._folder is None:
            kind = {"kind": "wrapper", "name": self._name, "rank": self._ranks.rank}
            self._channel.sender.mark("joined", **kind, pid=pid, command=masked_words(list(self._words)))
            return
        # Not before the command: it shall not wait for it, nor be the copy of a process with threads.
        self._starter = threading.Thread(target=self._guarded, args=(lambda: self._start(pid),), daemon=True)
        self._starter.start()

    def _end(self, ended: Ended) -> None:
        lines = self._errors.last_lines()
        left = children()
        if left is not None and isinstance(self._errors, KeptErrors):
            left.discard(self._errors.pid)
        names = None if left is None else {pid: _named(pid) for pid in sorted(left) if not is_pylons(pid)}
        if self._channel is not None:
            self._note_left(self._channel.sender, names)
            self._note_end(self._channel.sender, self._word(ended, lines))
        if self._wishes.verbose:
            for pid, name in (names or {}).items():
                write_line(f"pylon run: process {pid} ({name}) is left running")
        if self._folder is not None and not self._wishes.quiet and not self._reported:
            write_line(f"pylon run: recorded; show it with: pylon report {shlex.quote(str(self._folder))}")

    def _note_end(self, sender: Sender, word: dict[str, Any]) -> None:
        if self._folder is None:
            # The end of the first recorder's program is that of the record.
            sender.mark("left", kind="wrapper", rank=self._ranks.rank, **word)
            return
        sender.last_word(**word)
        self._await_recorder()
        if self._recorder is not None and os.getpid() == 1:
            # The end of a container's first process is that of all others.
            self._recorder.end(**word)
            self._recorder.stop()

    def _prepare(self) -> None:
        """Make the folder and the channel, or find the sibling that does."""
        if not Path("/proc/self/stat").exists():
            raise FileNotFoundError("/proc is not there: mount it, or let the container show it")
        try:
            Path.cwd()
        except FileNotFoundError as error:
            raise FileNotFoundError("the working folder no longer exists: go to one that does") from error
        wish = self._wishes.folder
        self._place = (
            new_place(self._name, self._ranks, platform.node()) if wish is None else given_place(wish)
        )
        folder = self._place.folder
        if self._ranks.local:
            self._channel = join_sibling(folder, self._ranks.rank, _SIBLING_WITHIN_S)
            if self._channel is None:
                self._place.remove()
                raise TimeoutError(f"{folder}: no recorder of local rank 0 within {_SIBLING_WITHIN_S:g} s")
            return
        self._channel = Channel.create(self._ranks.rank)
        if self._ranks.ranks is not None:
            announce(folder, self._channel.address)
        self._folder = folder

    def _start(self, pid: int) -> None:
        from pylon.recorder.process.recorder import Recorder  # noqa: PLC0415 - see begin

        if self._folder is None:
            return
        # The command's standard error is no place for the monitors' log; what they fail at is in the record.
        logging.getLogger("pylon").propagate = False
        logging.getLogger("pylon.recorder").addHandler(_Reporter(self._report))
        logging.getLogger("pylon").addHandler(logging.NullHandler())
        self._recorder = Recorder(
            self._folder / HISTORY,
            kind="wrapper",
            name=self._name,
            rank=self._ranks.rank,
            ranks=self._ranks.ranks,
            command=self._words,
            notify=self._wishes.notify,
            uncaught=False,
            channel=self._channel,
        )
        self._recorder.start()
        self._recorder.watch(pid)

    def _note_request(self, number: int, sender_pid: int) -> None:
        sender = {"sender_pid": sender_pid, "sender": _named(sender_pid)} if sender_pid else {}
        if self._channel is not None:
            name = signal.Signals(number).name
            self._channel.sender.mark("stop_request", signal=name, by="parent", **sender)

    def _note_left(self, sender: Sender, left: dict[int, str] | None) -> None:
        if left is None or left:
            shown = None if left is None else [{"pid": pid, "name": name} for pid, name in left.items()]
            sender.mark("left_running", processes=shown)

    def _word(self, ended: Ended, last_lines: str | None) -> dict[str, Any]:
        """What the parent of the command states of its end."""
        return {
            "source": "parent",
            "exit_code": ended.exit_code,
            "signal": ended.signal,
            "last_lines": last_lines,
            "peak_memory_bytes": ended.peak_memory_bytes,
            "cpu_s": round(ended.cpu_s, 3),
        }

    def _await_recorder(self) -> None:
        """Let the recorder of a command that has ended at once begin; it ends by itself."""
        until_s = time.monotonic() + _RECORDER_WITHIN_S
        if self._starter is not None:
            self._starter.join(_RECORDER_WITHIN_S)
        recorder = self._recorder
        if self._reported:
            return
        begun = recorder is not None and recorder.await_begin(until_s - time.monotonic())
        problem = None if recorder is None else recorder.problem
        if problem is not None:
            self._report(f"{self._folder}: the record cannot be written ({problem})")
        elif not begun:
            self._report(f"{self._folder}: the recorder was not ready within {_RECORDER_WITHIN_S:g} s")

    def _report(self, text: str) -> None:
        if not self._reported:
            self._reported = True
            write_line(f"pylon run: not recorded: {text}")


def _words_of(error: Exception) -> str:
    if not isinstance(error, OSError) or error.filename is None:
        return str(error)
    return f"{error.filename}: {error.strerror}; name a folder that can be written with --record DIR"


class _Reporter(logging.Handler):
    """Gives the first warning of the recorder to the user."""

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._give = report

    def emit(self, record: logging.LogRecord) -> None:
        self._give(record.getMessage().splitlines()[0])


def _named(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text(errors="replace").strip()
    return "ended"
