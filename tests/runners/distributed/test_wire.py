"""What ranks send each other arrives as it was, and what is no message is refused without executing it."""

import math
import os
import pickle
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # public, but not in torch's __all__
from torch.distributed.rendezvous import rendezvous

from pylon.runners.distributed import opened_world
from pylon.runners.distributed.meeting import own_store
from pylon.runners.distributed.process_group import _TIMEOUT
from pylon.runners.distributed.wire import MOST_TEXT_BYTES, packed, unpacked
from pylon.runners.errors import ForeignMessageError, TrainingError
from tests.runners.distributed.ranks import free_port, variables_of
from tests.shutdown.compare_runs import unequal

VALUES = {
    "plain": [None, True, 0, -(2**70), 0.1, -0.0, math.inf, "text \ud800", [1, [2]]],
    "containers": [
        (1, (2,)),
        {1, 2},
        {},
        {1: "a", "1": "b", (1, 2): "c"},
        Counter("aab"),
        torch.Size([1, 2]),
    ],
    "others": [Path("a/b"), b"\x00\xff", bytearray(b"x"), 1 + 2j, torch.float16, torch.device("cuda", 1)],
    "tensors": [torch.arange(6).reshape(2, 3).T, torch.tensor(1.5), torch.empty(0, 3), torch.tensor([True])],
    "types": [
        torch.randn(3).to(kind) for kind in (torch.bfloat16, torch.complex64, torch.int8, torch.float64)
    ],
    "nan": torch.tensor([math.nan, math.inf, -0.0]).view(torch.int32),
}


class Hostile:
    """Leaves a file with the number of the process that unpickles it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return exec, (f"import os; open({str(self.folder)!r} + f'/executed_by_{{os.getpid()}}', 'w')",)


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_value_arrives_as_it_was(value: Any) -> None:
    assert unequal(unpacked(packed(value), 1), value) == []


def test_state_of_a_training_arrives_as_it_was() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    sent = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "weight": model[0].weight}
    back = unpacked(packed(sent), 1)
    assert unequal(back, sent) == []
    assert type(back["model"]) is OrderedDict
    assert back["model"]._metadata == sent["model"]._metadata
    assert type(back["weight"]) is torch.nn.Parameter


def test_number_of_numpy_arrives_as_pythons() -> None:
    assert unpacked(packed({"idx": np.int64(3)}), 1) == {"idx": 3}


def test_what_cannot_be_sent_is_named_by_its_place_or_sent_as_text() -> None:
    value = {"batches": [{"meta": range(3)}]}
    with pytest.raises(TrainingError, match=r"^batches\.0\.meta of type builtins\.range cannot be sent"):
        packed(value)
    assert unpacked(packed(value, others_as_text=True), 1) == {"batches": [{"meta": "range(0, 3)"}]}


def message(text: bytes) -> bytes:
    return len(text).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234567",
        pickle.dumps({"a": 1}),
        (MOST_TEXT_BYTES + 1).to_bytes(8, "little") + b"1",
        (100).to_bytes(8, "little") + b"1",
        message(b"{"),
        message(b"\xff"),
        message(b"[" * 100_000),
        message(b'{"exec": "1"}'),
        message(b'{"tuple": [1], "list": []}'),
        message(b'{"dict": 1}'),
        message(b'{"dict": [[[[1], 2]], []]}'),
        message(b'{"dtype": "torch.load"}'),
        message(b'{"tensor": ["torch.float32", [1000000000000], false]}'),
        message(b'{"tensor": ["torch.float32", [-1, -1], false]}'),
    ],
)
def test_what_is_no_message_is_refused_with_its_sender(content: bytes) -> None:
    with pytest.raises(ForeignMessageError, match="rank 3 sent what is no message of Pylon"):
        unpacked(torch.tensor(list(content), dtype=torch.uint8), 3)


@pytest.mark.slow
@pytest.mark.parametrize("call", ["gather", "on_writer"])
def test_pickle_of_a_hostile_rank_is_not_executed(tmp_path: Path, call: str) -> None:
    ranks = variables_of(2, free_port())
    victim, hostile = (1, 0) if call == "on_writer" else (0, 1)
    pids = {}
    for rank, act in ((victim, be_victim), (hostile, be_hostile)):
        pids[rank] = os.fork()
        if pids[rank] == 0:
            os.environ |= ranks[rank]
            try:
                act(tmp_path, call)
            finally:
                os._exit(0)
    for pid in pids.values():
        os.waitpid(pid, 0)
    assert (tmp_path / "raised").read_text() == "ForeignMessageError"
    assert not (tmp_path / f"executed_by_{pids[victim]}").exists()
    assert (tmp_path / "sent").exists(), "the pickle was sent"


def be_victim(folder: Path, call: str) -> None:
    try:
        with opened_world(torch.device("cpu")) as world:
            if call == "on_writer":
                world.on_writer(lambda: None)
        (folder / "raised").write_text("nothing")
    except Exception as error:  # noqa: BLE001 - its type is what is tested
        (folder / "raised").write_text(type(error).__name__)


def be_hostile(folder: Path, call: str) -> None:
    """Join the run as a rank that follows its protocol up to the message that it chooses."""
    shared, rank, _ = next(rendezvous("env://", timeout=_TIMEOUT))
    store = PrefixStore("group", own_store(shared, rank, 2, _TIMEOUT))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    control = dist.new_group(backend="gloo")
    pickled = torch.frombuffer(bytearray(pickle.dumps(Hostile(folder))), dtype=torch.uint8)
    first = pickled if call == "gather" else packed(0)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(2)]
    dist.all_gather(sizes, torch.tensor([len(first)]), group=control)
    padded = torch.zeros(max(int(size) for size in sizes), dtype=torch.uint8)
    padded[: len(first)] = first
    dist.all_gather(list(torch.empty(2, len(padded), dtype=torch.uint8)), padded, group=control)
    if call == "on_writer":
        dist.broadcast(torch.tensor([len(pickled)]), src=0, group=control)
        dist.broadcast(pickled, src=0, group=control)
    (folder / "sent").touch()
