"""The ranks that torchrun started, over torch.distributed.

Two groups: one moves tensors between the devices (NCCL on CUDA, gloo on CPUs), the other, always gloo,
moves what the processes agree on. A rank that is killed closes its gloo connections, so that the others
notice at their next step, also while their devices would wait for it without an end.
"""

import contextlib
import datetime
import gc
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # public, but not in torch's __all__
from torch.distributed.rendezvous import rendezvous

from pylon.data.errors import DataError, LoaderWorkerError
from pylon.runners.distributed.launched import launched_as
from pylon.runners.distributed.meeting import own_store
from pylon.runners.distributed.reports import Reports
from pylon.runners.distributed.wire import checked_size, packed, unpacked
from pylon.runners.distributed.world import World
from pylon.runners.errors import (
    EndedByPeerError,
    ForeignMessageError,
    PeerLostError,
    PylonError,
    RunStopped,
)

T = TypeVar("T")

# As long as gloo's own default: the ranks wait so long for one that saves onto a slow disk.
_TIMEOUT = datetime.timedelta(minutes=30)
_AGENT_WITHIN = datetime.timedelta(minutes=1)
# torch gives most of what gloo raises as a plain RuntimeError, with the place in gloo's sources in front.
_TRANSPORTS = ("/gloo/", "NCCL")


@contextlib.contextmanager
def opened_world(device: torch.device) -> Iterator[World]:
    """The world that this process belongs to, from torchrun's environment variables.

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
    except BaseException:
        world.leave_at_once()
        raise
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
        # DistributedDataParallel imports it, and its functions keep the group of that moment as a default.
        importlib.import_module("torch.distributed.nn.functional")
        try:
            # Ranks without an agent may come late. torchrun's agent is there, or has died meanwhile.
            shared, self.rank, self.size = next(
                rendezvous("env://", timeout=_AGENT_WITHIN if _agent_holds_store() else _TIMEOUT)
            )
            shared.set_timeout(_TIMEOUT)
            store = own_store(shared, self.rank, self.size, _TIMEOUT)
            self._reports = Reports(store, self.rank, self.size)
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo",
                store=PrefixStore("group", store),
                rank=self.rank,
                world_size=self.size,
                timeout=_TIMEOUT,
                device_id=device if device.type == "cuda" else None,
            )
            self._control: dist.ProcessGroup | None = dist.new_group(backend="gloo", timeout=_TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise PeerLostError(
                f"The ranks of this run cannot reach each other: {_first_line(error)}. Start it with "
                "`torchrun --nproc-per-node N main.py ...`; on several machines with the same "
                "--rdzv-endpoint, which each of them must reach."
            ) from error

        self.machines = self.gather(local_rank).count(0)

    def on_writer(self, action: Callable[[], T]) -> T:
        """See World."""
        if not self.writes:
            code, result = self._from_writer()
            if code:
                raise EndedByPeerError(code)
            value: T = result
            return value
        try:
            own = action()
            message = packed([0, own])
        except Exception as error:
            self._to_all(packed([_exit_code(error), None]))
            raise
        self._to_all(message)
        return own

    def _to_all(self, message: torch.Tensor) -> None:
        with self._explained():
            dist.broadcast(torch.tensor([len(message)]), src=0, group=self._control)
            dist.broadcast(message, src=0, group=self._control)

    def _from_writer(self) -> tuple[int, Any]:
        size = torch.zeros(1, dtype=torch.int64)
        with self._explained():
            dist.broadcast(size, src=0, group=self._control)
            message = torch.empty(checked_size(int(size), 0), dtype=torch.uint8)
            dist.broadcast(message, src=0, group=self._control)
        found = unpacked(message, 0)
        if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], int)):
            raise ForeignMessageError(0, "it is not the outcome of an action")
        return found[0], found[1]

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

    def gather(self, value: T, *, others_as_text: bool = False) -> list[T]:
        """See World."""
        own = packed(value, others_as_text=others_as_text)
        sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(self.size)]
        with self._explained():
            dist.all_gather(sizes, torch.tensor([len(own)]), group=self._control)
            # Each rank finds the same one out of range: no rank waits for another.
            counts = [checked_size(int(one), rank) for rank, one in enumerate(sizes)]
            # gloo gathers tensors of one size.
            messages = list(torch.empty(self.size, max(counts), dtype=torch.uint8))
            padded = torch.zeros(max(counts), dtype=torch.uint8)
            padded[: len(own)] = own
            dist.all_gather(messages, padded, group=self._control)
        received = zip(messages, counts, strict=True)
        return [unpacked(one[:count], rank) for rank, (one, count) in enumerate(received)]

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
        options: dict[str, Any] = {alone: False}
        return replica(
            model,
            device_ids=[self._device] if self._device.type == "cuda" else None,
            find_unused_parameters=find_unused_parameters,
            **options,
        )

    def explain(self, error: BaseException) -> BaseException:
        """See World."""
        if isinstance(error, PylonError | DataError) or not _is_of_transport(error):
            return error
        reports = self._reports.of([rank for rank in range(self.size) if rank != self.rank], causes=True)
        if 0 in reports:
            return EndedByPeerError(1)
        causes = "\n".join(f"rank {rank} ended: {report['message']}" for rank, report in reports.items()) or (
            "A rank of this run is gone: killed (out of memory?), or its machine or the network failed. Look "
            f"at what torchrun reports of it. ({_first_line(error)})"
        )
        return PeerLostError(
            f"{causes}\nThe same command resumes from the newest checkpoint.",
            "\n".join(report["traceback"] for report in reports.values()),
        )

    def report(self, error: BaseException) -> None:
        """See World."""
        self._reports.publish(error)
        self.leave_at_once()

    def leave_at_once(self) -> None:
        """Let the others notice that this rank ends, before it has ended."""
        self._failed = True
        if self._control is not None:
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group(self._control)
            # The connections are closed when nothing refers to the group any more.
            self._control = None

    def is_reported_by_writer(self, error: BaseException) -> bool:
        """See World."""
        if self.writes:
            return False
        # All have agreed on a stop; but each rank that loses another one notices it in words of its own.
        reported = isinstance(error, RunStopped) or any(
            isinstance(error, PeerLostError) or str(error) in report["message"]
            for report in self._reports.of([0]).values()
        )
        self._reports.note_heard()
        return reported

    def close(self) -> None:
        """See World. After an error the others may be gone, and are waited for but a moment."""
        if self._failed and self.writes and not _agent_holds_store():
            self._reports.wait_until_heard()
        if self._failed and self._device.type == "cuda":
            return  # to leave NCCL properly is to wait for kernels that wait for the ranks that are gone
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()
        # The threads of a group end with the last reference to it. One that is left at the interpreter's end
        # may abort the process. The replica of the model refers to the group, and to itself.
        self._control = None
        gc.collect()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise self.explain(error) from error


def _agent_holds_store() -> bool:
    """Whether the ranks' store ends with torchrun's agent, and not with the first rank."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _exit_code(error: BaseException) -> int:
    return error.exit_code if isinstance(error, PylonError | DataError) else 1


def _is_of_transport(error: BaseException) -> bool:
    if isinstance(error, dist.DistError):
        return True
    if isinstance(error, LoaderWorkerError):
        return False
    return isinstance(error, RuntimeError) and any(name in str(error) for name in _TRANSPORTS)


def _first_line(error: BaseException) -> str:
    """What happened, without gloo's source file before it and its advice after it."""
    line = re.sub(r"^\[\S+:\d+\] ", "", str(error).partition("\n")[0])
    return line.partition(". This is typically caused by")[0].rstrip(". ")
