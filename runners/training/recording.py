"""A run's record, `history.sqlite`: who writes it, what the run says of its end, and how other ranks join."""

import contextlib
import logging
import platform
import time
from collections.abc import Iterator
from pathlib import Path

from pylon.monitor import SystemMonitor
from pylon.recorder import Recorder
from pylon.recorder.channel import Channel, ChannelError, Sender
from pylon.runners.config import to_json
from pylon.runners.errors import RunStopped
from pylon.runners.training.context import RunContext
from pylon.runners.training.loggers import start_loggers

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def recorded(context: RunContext, monitor: SystemMonitor | None) -> Iterator[Sender]:
    """Record the block with what the monitor reads; without a monitor on its machine, a rank records nothing.

    The monitor is started inside the block and stopped after it. The rank that has it starts the recorder,
    and the other ranks of its machine report to that.

    Yields:
        What takes steps and marks.
    """
    world = context.world
    # On another machine the run's directory may not be there, and is not made for this.
    recorder = None
    if isinstance(monitor, SystemMonitor) and context.directory.root.is_dir():
        since = time.time()
        recorder = _recorder(context, monitor).start()
        start_loggers(context, since, joined=recorder.joined)
    with contextlib.ExitStack() as stack:
        if recorder is not None:
            sender = stack.enter_context(_with_last_word(recorder))
        else:
            channel = Channel.unread()
            stack.callback(lambda: channel.close())  # noqa: PLW0108 - `channel` may become another one
            sender = channel.sender
        if world.size > 1:
            offered = world.gather([platform.node(), "" if recorder is None else recorder.address])
            address = next((one for node, one in offered if one and node == platform.node()), "")
            if recorder is None and address and (found := _joined(address, world.rank)) is not None:
                channel, sender = found, found.sender
        context.stop.on_signal(lambda name: sender.mark("stop_request", signal=name))
        yield sender


def _recorder(context: RunContext, monitor: SystemMonitor) -> Recorder:
    world, directory = context.world, context.directory
    # Each machine has a record of its own: a file has one writer.
    path = directory.record if world.rank == 0 else directory.record_of_rank(world.rank)
    launches = directory.launches() if world.rank == 0 else []
    git = {name: launches[-1].get(name) for name in ("git", "configuration_git")} if launches else None
    return Recorder(
        path,
        kind="runner",
        name=Path(directory.root).name,
        configuration=to_json(context.config),
        monitor=monitor,
        rank=world.rank if world.size > 1 else None,
        ranks=world.size if world.size > 1 else None,
        git=git,
        uncaught=False,
        notify=context.notify,
        log=directory.log if world.writes else None,
    )


@contextlib.contextmanager
def _with_last_word(recorder: Recorder) -> Iterator[Sender]:
    try:
        yield recorder.sender
    except RunStopped as stopped:
        recorder.end("stopped", signal=stopped.signal_name)
        raise
    except SystemExit as error:  # a user's sys.exit() is no end of the run
        recorder.end("failed", error_type="SystemExit", error=str(error))
        raise
    except BaseException as error:
        recorder.end_with(error)
        raise
    else:
        recorder.end("finished")
    finally:
        recorder.stop()


def _joined(address: str, rank: int) -> Channel | None:
    try:
        channel = Channel.join(address, rank)
    except ChannelError as error:
        logger.warning("rank %d is not recorded: %s", rank, error)
        return None
    channel.sender.mark("joined", kind="runner", rank=rank)
    return channel
