"""What a program holds that is recorded: it starts the recorder, or joins the one that records already."""

import atexit
import hashlib
import json
import logging
import os
import platform
import sys
import time
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pylon.masking import masked, masked_words, secret_values
from pylon.monitor import Companion, MonitorError, SystemMonitor
from pylon.recorder.channel import VARIABLE, Channel, ChannelError, Sender, start_ticks
from pylon.recorder.endings import boot_id, words_of
from pylon.recorder.history import LaunchRow
from pylon.recorder.process.recording import record
from pylon.recorder.process.specification import RecordSpec
from pylon.recorder.process.stacks import OfferedStacks

HANG_AFTER_S = 60.0
_LOOK_EVERY_S = 0.005
_END_WITHIN_S = 5.0

logger = logging.getLogger(__name__)


class Recorder:
    """Records this program, or the command that it runs, into one file.

    If a recorder is at work already in this process or above it, this one joins that: what it sends is in
    that record, and it writes no file. Nothing here can end or hold up the program: what fails is logged.

    Args:
        path: of the history file; an earlier launch's is continued.
        kind: what is recorded: 'runner', 'wrapper', 'callback' or 'loop'.
        name: of the run.
        configuration: of the run, as JSON has it; what is secret in it is masked.
        monitor: the monitors whose figures are recorded; the caller starts them after `start`, and stops
            them. None: this machine's, which are started and stopped here.
        rank, ranks: of this process among those that train together.
        command: of the launch; None: this program's own.
        git: the state of the code.
        hang_after_s: the least time without a step that is a hang; None: hangs are not looked for.
        notify: addresses that alerts are sent to.
        log: the log of the run, to which alerts are added; None: it has none.
        uncaught: note the exception that ends this program.
        channel: made before, by a program that needs its address before the recorder is started.

    Attributes:
        sender: for steps, losses and marks.
        joined: whether another recorder writes the record.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        kind: str,
        name: str | None = None,
        configuration: Mapping[str, Any] | None = None,
        monitor: SystemMonitor | None = None,
        rank: int | None = None,
        ranks: int | None = None,
        command: Sequence[str] | None = None,
        git: Any = None,  # noqa: ANN401 - JSON
        hang_after_s: float | None = HANG_AFTER_S,
        uncaught: bool = True,
        notify: Sequence[str] = (),
        log: Path | None = None,
        channel: Channel | None = None,
    ) -> None:
        self.path = Path(path).absolute()
        self.joined = False
        self._kind, self._name = kind, name
        self._rank = rank
        self._monitor = monitor
        self._owns_monitor = monitor is None
        self._uncaught = uncaught
        self._spec = RecordSpec(
            str(self.path),
            _launch_row(
                kind, name, configuration=configuration, ranks=(rank, ranks), command=command, git=git
            ),
            hang_after_s,
            tuple(secret_values(configuration)),
            tuple(notify),
            None if log is None else str(log.absolute()),
        )
        self._channel = channel or Channel.unread()
        self._has_channel = channel is not None
        self._stacks: OfferedStacks | None = None
        self._former_hook: Any = None
        self._pid: int | None = None
        self._has_word = False
        self._is_started = False

    @property
    def sender(self) -> Sender:
        """For steps, losses and marks. Before `start` and after `stop` nothing reads them."""
        return self._channel.sender

    @property
    def address(self) -> str | None:
        """How processes below this one find its channel; None if there is none."""
        return os.environ.get(VARIABLE)

    def start(self) -> Self:
        """Start the recorder and its monitors, or join."""
        if self._pid is not None:
            return self
        self._pid = os.getpid()
        try:
            self._begin()
            self._is_started = True
        except (OSError, ChannelError, MonitorError, RuntimeError) as error:
            logger.warning("%s: this program is not recorded: %s", self.path, error)
        return self

    @property
    def begun(self) -> bool:
        """Whether the launch is in the record: its end will be noted, however it comes."""
        return self._channel.begun

    @property
    def problem(self) -> str | None:
        """Why the record cannot be written at present; None if it can."""
        return self._channel.problem

    def await_begin(self, within_s: float) -> bool:
        """Wait until the launch is in the record, for a program that ends at once; whether it is."""
        until_s = time.monotonic() + within_s
        while self._is_started and not self.begun and time.monotonic() < until_s:
            time.sleep(_LOOK_EVERY_S)
        return self.begun

    @property
    def processes(self) -> set[int]:
        """The ids of what this has started, as far as they run: supervisor and recorder."""
        supervisor = None if self._monitor is None else self._monitor.supervisor_pid
        return {pid for pid in (supervisor, self._channel.recorder_pid) if pid is not None}

    def watch(self, pid: int) -> None:
        """Have the end of a command that this program runs recorded, in place of its own."""
        self.sender.mark("watch", pid=pid, start_ticks=start_ticks(pid))

    def end(self, state: str | None = None, **detail: object) -> None:
        """State how the program ends; nothing is stopped.

        Args:
            state: 'finished', 'failed', 'stopped', ... as of EndingRow; None: it follows from the rest.
            detail: `error_type`, `error` and `traceback` of an exception; `cause` if it is known; `signal`,
                the name of the one that has asked for it. Of a command: `source="parent"`, with `exit_code`
                or the number `signal`, and `last_lines` of its error output.
        """
        self._has_word = True
        self.sender.last_word(state=state, **detail)

    def end_with(self, error: BaseException) -> None:
        """State that the program ends with an exception."""
        if words := words_of(error):
            self.end(**words)

    def stop(self) -> None:
        """End the recording, and the monitors. If no end was stated, the program has ended it as planned."""
        if self._pid != os.getpid():
            return
        self._pid = -1
        self._unhook()
        atexit.unregister(self._at_exit)
        if self.joined:
            self.sender.mark("left", kind=self._kind, pid=os.getpid())
        elif not self._has_word:
            self.end("finished")
        if not self.joined:
            self._channel.ask_to_stop()
            if os.environ.get(VARIABLE) == self._channel.address:
                del os.environ[VARIABLE]
            self._end_after_monitors()
        if self._owns_monitor and self._monitor is not None:
            self._monitor.stop()
        if self._stacks is not None:
            self._stacks.withdraw()
        if self.joined or self._owns_monitor:
            self._channel.close()
        else:
            # The supervisor, which the caller has started, may not have got the memory yet.
            self.sender.close()
            weakref.finalize(self, self._channel.close)

    def __enter__(self) -> Self:
        """Started."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stopped, with the exception noted that ends the block."""
        if error is not None and not self._has_word:
            self.end_with(error)
        self.stop()

    def _begin(self) -> None:
        joined = None if self._has_channel else Channel.of_process_tree(os.environ, self._rank)
        if joined is not None:
            self._channel, self.joined = joined, True
            self.sender.mark("joined", kind=self._kind, name=self._name, pid=os.getpid(), rank=self._rank)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if not self._has_channel:
                self._channel = Channel.create(self._rank)
            if self._monitor is None:
                self._monitor = SystemMonitor()
            self._monitor.accompany(self._companion())
            os.environ[VARIABLE] = self._channel.address
        if self._kind != "wrapper":  # which is not the program
            self._stacks = OfferedStacks(self.sender)
        if not self.joined:
            atexit.register(self._at_exit)
        if self._uncaught:
            self._former_hook, sys.excepthook = sys.excepthook, self._on_uncaught
        if self._owns_monitor and self._monitor is not None:
            self._monitor.start()

    def _end_after_monitors(self) -> None:
        """Have the end written by another recorder: if the monitors were stopped first, theirs ended too."""
        supervisor = None if self._monitor is None else self._monitor.supervisor_pid
        is_there = supervisor is not None and start_ticks(supervisor) is not None
        if is_there or not self._channel.begun or self._channel.ended:
            return
        until_s = time.monotonic() + _END_WITHIN_S
        last = SystemMonitor(gpu=False)
        try:
            last.accompany(self._companion())
            last.start()
            while not self._channel.ended and time.monotonic() < until_s:
                time.sleep(_LOOK_EVERY_S)
        except (OSError, RuntimeError) as error:
            logger.warning("%s: the end of this program is not recorded: %s", self.path, error)
        finally:
            last.stop()

    def _companion(self) -> Companion:
        return Companion("recorder", record, self._spec, self._channel.memory.descriptor)

    def _at_exit(self) -> None:
        """Note that the interpreter ends in order: os._exit does not come here."""
        if self._pid == os.getpid() and not self._has_word:
            self.sender.last_word(at_exit=True)

    def _on_uncaught(
        self, kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        try:
            if self._pid == os.getpid():
                self.end_with(error)
        finally:
            self._former_hook(kind, error, trace)

    def _unhook(self) -> None:
        # A later hook may call this one: then it stays, and does nothing.
        if self._former_hook is not None and sys.excepthook == self._on_uncaught:
            sys.excepthook = self._former_hook


def _launch_row(
    kind: str,
    name: str | None,
    *,
    configuration: Mapping[str, Any] | None,
    ranks: tuple[int | None, int | None],
    command: Sequence[str] | None,
    git: Any,  # noqa: ANN401 - JSON
) -> LaunchRow:
    text = None if configuration is None else json.dumps(masked(configuration), sort_keys=True, default=str)
    return LaunchRow(
        began_at=0.0,  # the channel has it
        kind=kind,
        name=name,
        host=platform.node(),
        boot_id=boot_id(),
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()),
        rank=ranks[0],
        ranks=ranks[1],
        command=json.dumps(masked_words(list(command or sys.orig_argv))),
        working_directory=_working_directory(),
        python=f"{platform.python_version()} {sys.executable}",
        configuration=text,
        configuration_digest=None if text is None else hashlib.sha256(text.encode()).hexdigest(),
        git=None if git is None else json.dumps(git, default=str),
        hardware=json.dumps({"machine": platform.machine(), "cpus": os.cpu_count()}),
    )


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except OSError:
        return None  # it was removed
