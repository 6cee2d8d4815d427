"""Batches of loader workers, waited for as long as they may take, and in words why one does not come."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from pylon.data.batch_pipe import PinningEndedError
from pylon.data.errors import LoaderWorkerError
from pylon.data.hand_over import HandOver, advice
from pylon.data.worker_watch import WorkerWatch

_TIMED_OUT = "DataLoader timed out"
_OF_A_WORKER = "Original Traceback"
_EXITED = "exited unexpectedly"
_KILLED = "A worker may have been killed for lack of memory: try fewer num_workers or a smaller batch_size."
_ENDED_ITSELF = (
    "What the worker wrote before may show why; with num_workers=0 the run's own process does the same."
)
_DEATH_SEEN_WITHIN_S = 1.0

Iterated = TypeVar("Iterated")


class BatchReceiver:
    """Waits for workers. torch looks up every POLL_S, and takes that for a time-out.

    Args:
        name: of the dataset, for an error.
        workers: how many there are, for an error.
        watch: of the workers.
        hand_over: has the reason why a batch cannot be handed over.
        pinning_error: why torch's thread that takes batches out gives none, if that is so.
        asked: whether the end is requested.
        end: called then; it raises what ends the iteration.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        watch: WorkerWatch,
        *,
        hand_over: HandOver | None,
        pinning_error: Callable[[], Exception | None],
        asked: Callable[[], bool],
        end: Callable[[], None],
    ) -> None:
        self._what = f"{name}: a batch of its {workers} loader workers"
        self._late = f"{name}: no batch came from its {workers} loader workers"
        self._watch = watch
        self._hand_over = hand_over
        self._pinning_error = pinning_error
        self._asked = asked
        self._end = end

    def next(self, batches: Iterator[Any]) -> Any:  # noqa: ANN401 - any batch
        """The next batch; None at the end.

        Raises:
            LoaderWorkerError: none comes, or not in time.
            Exception: what the dataset raised, or `end`.
        """
        with self._watch.waiting():
            return self._patient(lambda: next(batches, None))

    def begin_again(self, kept: Any, begin: Callable[[], Iterated]) -> Iterated:  # noqa: ANN401 - private class
        """Begin another epoch with the workers of torch's iterator `kept`.

        torch waits until each worker has agreed, which one does after the batches that it still loads for the
        epoch before. That epoch may have been left early, as a rehearsal leaves it.

        Raises:
            LoaderWorkerError: a worker does not agree, or not in time.
            Exception: what `end` raises.
        """
        received = kept._get_data
        kept._get_data = lambda: self._patient(received)
        try:
            with self._watch.waiting():
                return begin()
        finally:
            del kept._get_data

    def _patient(self, receive: Callable[[], Any]) -> Any:  # noqa: ANN401 - any batch
        while True:
            try:
                return receive()
            except Exception as error:  # rebuilding a batch here may raise anything
                if _OF_A_WORKER in str(error):
                    raise  # what the dataset raised
                if self._asked():
                    self._end()
                if failure := "" if self._hand_over is None else self._hand_over.failure():
                    raise self._not_handed_over(failure) from error
                if self._watch.is_overdue():
                    raise self._too_late() from error
                cause = self._cause(error)
                if cause is not None:
                    raise self._lost(cause, self._watch.deaths(_DEATH_SEEN_WITHIN_S)) from cause

    def _cause(self, error: Exception) -> Exception | None:
        """Why no batch can be received; None if none has come yet."""
        if not str(error).startswith(_TIMED_OUT):
            return error
        return self._pinning_error()

    def _not_handed_over(self, reason: str) -> LoaderWorkerError:
        return LoaderWorkerError(f"{self._what} could not be handed over ({reason}). {advice(reason)}")

    def _too_late(self) -> LoaderWorkerError:
        return LoaderWorkerError(
            f"{self._late} within timeout_s={self._watch.timeout_s:g}. One of them hangs, or is slow: "
            "look at the storage that the data lie on, use more num_workers, or raise timeout_s."
        )

    def _lost(self, error: Exception, deaths: str) -> LoaderWorkerError:
        if isinstance(error, PinningEndedError):
            return LoaderWorkerError(
                f"{self._what} could not be received: the thread that copies batches to page-locked memory "
                "has ended, with the error printed above. pin_memory=False needs no such thread."
            )
        if not deaths and _EXITED in str(error):
            deaths = "one ended with exit code 0"
        why = deaths or f"{type(error).__name__}: {error}"
        # A connection that breaks is its worker's end, seen or not seen yet; SIGBUS is what the kernel sends
        # when shared memory runs out.
        if "SIGBUS" in deaths or not (deaths or isinstance(error, ConnectionError | EOFError)):
            return self._not_handed_over(why)
        killed = "SIGKILL" in deaths or not deaths
        return LoaderWorkerError(
            f"{self._what} could not be received ({why}). {_KILLED if killed else _ENDED_ITSELF}"
        )
