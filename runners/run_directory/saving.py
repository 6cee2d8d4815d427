"""Saving: when a run's state is written, what a disk that refuses means, and what may be deleted.

trainer ── Snapshot ──> waiting ── write ──> epoch_N/..., links ── then ──> delete superseded
                           ^ stays here, in memory, while the disk refuses; tried again every few seconds
"""

import logging
import threading
import time
from collections.abc import Callable

from pylon.metrics.directions import Direction
from pylon.runners.outputs.step_log import StepLog
from pylon.runners.run_directory.checkpoint import Progress
from pylon.runners.run_directory.checkpointing import Checkpointing
from pylon.runners.run_directory.directory import RunDirectory
from pylon.runners.run_directory.history import History
from pylon.runners.run_directory.retention import KeptEpochs, Retention
from pylon.runners.run_directory.snapshots import Snapshot
from pylon.runners.run_directory.superseded import Superseded
from pylon.threads import started

_RETRY_S = 10.0

logger = logging.getLogger(__name__)


class Saver:
    """Writes snapshots to the disk, on the training thread or in a thread of its own.

    Args:
        directory: the run's.
        step_log: synced to the disk before every checkpoint that counts its lines.
        history: of the epochs, likewise; None: this rank writes nothing.
        retention: which checkpoints stay.
        direction: which way the score is better.
        checkpointing: when to save in the middle of an epoch, and whether a thread writes. At most one
            snapshot is being written; the next one waits for it.
        resumed: the moment of the checkpoint that this launch resumed from; None: it resumed from none.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        directory: RunDirectory,
        step_log: StepLog,
        history: History | None,
        *,
        retention: Retention,
        direction: Direction,
        checkpointing: Checkpointing,
        resumed: Progress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._step_log = step_log
        self._history = history
        self._retention = retention
        self._checkpointing = checkpointing
        self._held = None if resumed is None else resumed.position
        self._clock = clock
        self._saved_s = self._tried_s = clock()
        # Each with the epochs whose checkpoints stay when it is on the disk.
        self._waiting: list[tuple[Snapshot, frozenset[int]]] = []
        self._writer: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._trouble: OSError | None = None
        directory.ensure()
        self._kept = KeptEpochs(retention, direction)
        if history is not None:
            for score, end in history.past:
                self._kept.add(score, end)
            self._superseded = Superseded(directory, self._kept)
            if resumed is not None:
                # A launch that is killed between a save and this leaves them.
                self._superseded.discard(resumed, self._stay_for_now(resumed))

    def due(self, global_step: int) -> bool:
        """Whether the state in the middle of an epoch is to be saved after this step of the run."""
        steps, minutes = self._checkpointing.every_steps, self._checkpointing.every_minutes
        if steps is not None and global_step % steps == 0:
            return True
        return minutes is not None and self._clock() - self._saved_s >= 60 * minutes

    def holds(self, progress: Progress) -> bool:
        """Whether the newest saved state, or the one that this launch resumed from, is of this moment."""
        return self._held == progress.position

    def save(self, snapshot: Snapshot) -> None:
        """Write a snapshot, or begin to. What the disk refuses stays in memory: see `end_step`.

        Raises:
            Exception: whatever else went wrong in writing this snapshot or the one before.
        """
        self._settle()
        self._saved_s = self._clock()
        if self._history is not None:
            self._queue(snapshot, self._history)
            if self._checkpointing.asynchronous:
                snapshot.detach()
            self._try()
            if self._waiting and not self._checkpointing.asynchronous:
                snapshot.detach()
        self._held = snapshot.progress.position

    def end_step(self) -> None:
        """Between two steps: raise what went wrong in the writer, and try again what the disk refused.

        Raises:
            Exception: what went wrong since the last look; the disk's refusals are no failures.
        """
        self._raise_failure()
        is_writing = self._writer is not None and self._writer.is_alive()
        if not is_writing and self._waiting and self._clock() - self._tried_s >= _RETRY_S:
            self._settle()
            self._try()

    def finish(self) -> None:
        """Write everything to the disk, and return only then.

        Raises:
            OSError: the disk still refuses.
            Exception: whatever else went wrong in writing.
        """
        self._settle()
        if self._waiting:
            self._write_waiting(again=False)
            self._raise_failure()
        if self._waiting and self._trouble is not None:
            raise self._trouble

    def _try(self) -> None:
        """Write what waits, or begin to."""
        self._tried_s = self._clock()
        if self._checkpointing.asynchronous and self._write_in_background():
            return
        self._write_waiting()
        self._raise_failure()

    def _write_in_background(self) -> bool:
        """Begin to; whether there is room for one more thread."""
        writer = threading.Thread(target=self._write_waiting, name="checkpoint", daemon=True)
        if not started(writer):
            return False
        self._writer = writer
        return True

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _settle(self) -> None:
        """Wait until the running write has ended."""
        if self._writer is not None:
            self._writer.join()
            self._writer = None
        self._raise_failure()

    def _queue(self, snapshot: Snapshot, history: History) -> None:
        """Put the snapshot behind those that wait, of which only what a policy keeps stays in memory."""
        for one, _ in self._waiting:
            if not one.ends_epoch and self._retention.keeps_step(one.progress.global_step):
                logger.warning(
                    "retention.args.every_steps: the checkpoint after %d steps is left out, as the disk has "
                    "refused it until a newer one was due",
                    one.progress.global_step,
                )
        self._waiting = [one for one in self._waiting if one[0].ends_epoch]
        if snapshot.results is not None:
            history.add(snapshot.results.record)
            self._kept.add(*history.judged(snapshot.results.record))
        keep = self._stay_for_now(snapshot.progress)
        for one, _ in self._waiting:
            if one.epoch not in keep and not self._kept.for_good(one.epoch):
                one.content = None
        self._waiting.append((snapshot, keep))

    def _stay_for_now(self, progress: Progress) -> frozenset[int]:
        best = progress.best_epoch
        return self._kept.for_now() | (frozenset() if best is None else {best})

    def _write_waiting(self, *, again: bool = True) -> None:
        """Write what waits, oldest first. While the writer's thread runs, no other thread uses the list.

        Args:
            again: what the disk refuses will be tried again, which is logged.
        """
        try:
            self._directory.ensure()
            self._step_log.sync()
            if self._history is not None:
                self._history.sync()
            while self._waiting:
                self._write(*self._waiting[0])
                self._waiting.pop(0)
        except OSError as error:
            self._trouble = error
            if again:
                self._warn(error)
        except BaseException as error:  # noqa: BLE001 - raised again on the training thread
            self._failure = error
        else:
            if self._trouble is not None:
                logger.warning("%s: everything that had waited is written", self._directory.root)
            self._trouble = None

    def _warn(self, error: OSError) -> None:
        logger.warning(
            "%s: the state of the run could not be written: %s. It is kept in memory and tried again every "
            "%d s: make room, or repair the disk.",
            self._directory.root,
            error,
            _RETRY_S,
        )

    def _write(self, snapshot: Snapshot, keep: frozenset[int]) -> None:
        self._superseded.note(snapshot)
        snapshot.write(self._directory)
        if snapshot.content is None:
            return
        if snapshot.ends_epoch:
            refer_to_checkpoints(self._directory, snapshot.progress)
        # Only now, with their replacement on the disk.
        self._superseded.discard(snapshot.progress, keep)


def refer_to_checkpoints(directory: RunDirectory, progress: Progress) -> None:
    """Make the links to the last finished and the best epoch."""
    if progress.epoch == 0:
        return
    directory.link_latest(progress.epoch - 1)
    if progress.best_epoch is not None and directory.checkpoint(progress.best_epoch).exists():
        directory.link_best(progress.best_epoch)
