"""The ranks that torchrun started, over torch.distributed.

Two groups: one moves tensors between the devices (NCCL on CUDA, gloo on CPUs), the other, always gloo,
moves what the processes agree on. A rank that is killed closes its gloo connections, so that the others
notice at their next step, also while their devices would wait for it without an end.
"""

import contextlib
import datetime
import inspect
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from data.errors import DataError
from runners.distributed.meeting import own_store
from runners.distributed.world import World
from runners.errors import EndedByPeerError, PeerLostError, PylonError

T = TypeVar("T")

# As long as gloo's own default: the ranks wait so long for one that saves onto a slow disk.
_TIMEOUT = datetime.timedelta(minutes=30)
# For what a rank that ends says of itself, on its way to the others.
_REPORTS_WITHIN_S = 2.0
_REPORT = "ended/{}"
_HEARD = "heard/{}"
# The transports name themselves in what they raise; torch gives most of it as a plain RuntimeError.
_TRANSPORTS = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def launched_as() -> tuple[int, int]:
    """The local rank of this process and the number of ranks, as torchrun's environment variables say."""
    return int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


@contextlib.contextmanager
def opened_world(device: torch.device) -> Iterator[World]:
    """The world that this process belongs to, as torchrun's environment variables say.

    Raises:
        PeerLostError: the other ranks cannot be reached.
    """
    local_rank, ranks = launched_as()
    if ranks == 1:
        yield World()
        return
    world = ProcessGroupWorld(device, local_rank)
    try:
        yield world
    finally:
        world.close()


class ProcessGroupWorld(World):
    """One of several ranks.

    Args:
        device: of this rank; the backend follows from it.
        local_rank: its number on its machine.

    Raises:
        PeerLostError: the other ranks cannot be reached.
    """

    def __init__(self, device: torch.device, local_rank: int) -> None:
        self._device = device
        self._failed = False
        self.local_rank = local_rank
        if device.type == "cuda":
            torch.cuda.set_device(device)
        try:
            shared, self.rank, self.size = next(rendezvous("env://", timeout=_TIMEOUT))
            self._store = own_store(shared, self.rank, self.size, _TIMEOUT)
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=dist.PrefixStore("group", self._store),
                rank=self.rank,
                world_size=self.size,
                timeout=_TIMEOUT,
                device_id=device if device.type == "cuda" else None,
            )
            self._control = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise PeerLostError(
                f"The ranks of this run cannot reach each other: {_first_line(error)}. Start it with "
                "`torchrun --nproc-per-node N main.py ...`; on several machines with the same "
                "--rdzv-endpoint, which each of them must reach."
            ) from error

        self.machines = self.gather(local_rank).count(0)

    def on_writer(self, action: Callable[[], T]) -> T:
        """See World."""
        outcome: list[Any] = [None]
        failure: BaseException | None = None
        if self.writes:
            try:
                outcome = [(0, action())]
            except Exception as error:  # noqa: BLE001 - raised again below, when the others know of it
                failure, outcome = error, [(_exit_code(error), None)]
        with self._explained():
            dist.broadcast_object_list(outcome, src=0, group=self._control)
        if failure is not None:
            raise failure
        code, result = outcome[0]
        if code:
            raise EndedByPeerError(code)
        value: T = result
        return value

    def together(self, action: Callable[[], T]) -> T:
        """See World."""
        try:
            result = action()
        except Exception as error:
            self.gather(_exit_code(error))
            raise
        failed = [code for code in self.gather(0) if code]
        if failed:
            raise EndedByPeerError(failed[0])
        return result

    def gather(self, value: T) -> list[T]:
        """See World."""
        values: list[Any] = [None] * self.size
        with self._explained():
            dist.all_gather_object(values, value, group=self._control)
        return values

    def maximum(self, values: list[int]) -> list[int]:
        """See World."""
        tensor = torch.tensor(values, dtype=torch.int64)
        with self._explained():
            dist.all_reduce(tensor, op=dist.ReduceOp.MAX, group=self._control)
        return [int(value) for value in tensor.tolist()]

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        """See World."""
        with self._explained():
            dist.all_reduce(tensor)
        return tensor

    def replicate(self, model: torch.nn.Module, *, find_unused_parameters: bool) -> torch.nn.Module:
        """See World."""
        replica = torch.nn.parallel.DistributedDataParallel
        # Buffers are averaged after each step instead (`Stepper`): torch would take the first rank's alone.
        # The option that leaves them alone has another name from torch 2.13 on.
        names = inspect.signature(replica).parameters
        alone = "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
        return replica(
            model,
            device_ids=[self._device] if self._device.type == "cuda" else None,
            find_unused_parameters=find_unused_parameters,
            **{alone: False},
        )

    def explain(self, error: BaseException) -> BaseException:
        """See World."""
        if isinstance(error, PylonError | DataError) or not _is_of_transport(error):
            return error
        reports = self._reports([rank for rank in range(self.size) if rank != self.rank])
        if 0 in reports:
            return EndedByPeerError(1)
        said = "\n".join(f"rank {rank} ended: {report['message']}" for rank, report in reports.items()) or (
            f"A rank of this run is gone: {_first_line(error)}. It was killed (out of memory?), or its "
            "machine or the network failed: look at what torchrun says of it."
        )
        return PeerLostError(
            f"{said}\nThe same command goes on from the newest checkpoint.",
            "\n".join(report["traceback"] for report in reports.values()),
        )

    def report(self, message: str, traceback: str = "") -> None:
        """See World."""
        self._failed = True
        with contextlib.suppress(RuntimeError):  # the store ends with the rank or agent that holds it
            self._store.set(
                _REPORT.format(self.rank), json.dumps({"message": message, "traceback": traceback})
            )

    def is_said_by_writer(self, message: str) -> bool:
        """See World."""
        if self.writes:
            return False
        said = any(report["message"] == message for report in self._reports([0]).values())
        with contextlib.suppress(RuntimeError):
            self._store.set(_HEARD.format(self.rank), "")
        return said

    def close(self) -> None:
        """See World. After an error the others may be gone, and are waited for but a moment."""
        if self._failed and self._holds_store:
            heard = [_HEARD.format(rank) for rank in range(1, self.size)]
            _wait_for(lambda: self._store.check(heard))
        if self._failed and self._device.type == "cuda":
            return  # to leave NCCL properly is to wait for kernels that wait for the ranks that are gone
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    @property
    def _holds_store(self) -> bool:
        """Whether what the ranks tell each other ends with this process, and not with torchrun's agent."""
        return self.writes and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self.explain(error) from error

    def _reports(self, ranks: list[int]) -> dict[int, dict[str, str]]:
        """What ended ranks of these have said of themselves, as soon as one has."""
        found: list[int] = []

        def look() -> bool:
            found.extend(rank for rank in ranks if self._store.check([_REPORT.format(rank)]))
            return bool(found)

        _wait_for(look)
        with contextlib.suppress(RuntimeError):
            return {rank: json.loads(self._store.get(_REPORT.format(rank))) for rank in found}
        return {}


def _wait_for(condition: Callable[[], bool]) -> None:
    """Wait for what other ranks say; not longer than a moment, and not where they cannot be asked."""
    until = time.monotonic() + _REPORTS_WITHIN_S
    with contextlib.suppress(RuntimeError):
        while not condition() and time.monotonic() < until:
            time.sleep(0.05)


def _exit_code(error: BaseException) -> int:
    if isinstance(error, DataError):
        return 3
    return error.exit_code if isinstance(error, PylonError) else 1


def _is_of_transport(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _TRANSPORTS)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0].rstrip(". ")
