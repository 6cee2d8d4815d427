import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pylon.data import (
    DataError,
    DataLoader,
    DatasetContractError,
    DatasetDamagedError,
    LoaderWorkerError,
    SharedImageCache,
)
from pylon.data.transforms import ColorJitter, Compose, Normalize, RandomCrop, RandomFlip, RandomRot90, Resize
from tests.data.samples import (
    CountedDataset,
    DamagedDataset,
    GloballyRandomDataset,
    KilledDataset,
    LargeDataset,
    SampleDataset,
    SignalsDataset,
    UnevenDataset,
)

# On a machine with one core.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")

REPOSITORY = Path(__file__).resolve().parents[2]
Batches = list[dict[str, Any]]
HALVES = {"img_1": [0.5, 0.5, 0.5], "img_2": [0.5, 0.5, 0.5]}
AUGMENT = Compose(
    [
        RandomCrop(200),
        RandomRot90(),
        RandomFlip(),
        ColorJitter(0.4, 0.4, 0.4, 0.1, 0.8),
        Resize(210),
        Normalize(HALVES, HALVES),
    ]
)


def epochs(loader: DataLoader, *seeds: int) -> list[Batches]:
    result = []
    for seed in seeds:
        loader.set_epoch_seed(seed)
        result.append(list(loader))
    return result


def same(first: Batches, second: Batches) -> bool:
    """Bit-equal tensors and equal meta_info; which process loaded a datapoint does not count."""
    return len(first) == len(second) and all(map(same_batch, first, second))


def same_batch(first: dict[str, Any], second: dict[str, Any]) -> bool:
    tensors = all(
        torch.equal(first[part][name], second[part][name])
        for part in ("inputs", "labels")
        for name in first[part]
    )
    return tensors and all(
        first["meta_info"][key] == second["meta_info"][key] for key in first["meta_info"].keys() - {"process"}
    )


def error_of(dataset: SampleDataset, num_workers: int) -> DataError | None:
    """What an epoch ends with, without the frames, which would hold the loader and its workers."""
    try:
        list(DataLoader(dataset, batch_size=2, num_workers=num_workers))
    except DataError as error:
        return error.with_traceback(None)
    return None


@pytest.fixture(scope="module")
def expected() -> list[Batches]:
    loader = DataLoader(LargeDataset("", "train", transforms=AUGMENT), batch_size=3, shuffle=True)
    return epochs(loader, 5, 6, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"num_workers": 1},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": False},
        {"num_workers": 2, "prefetch_factor": 4},
        {"num_workers": 1, "multiprocessing_context": "forkserver"},
        {"num_workers": 1, "multiprocessing_context": "spawn"},
    ],
    ids=lambda options: "-".join(map(str, options.values())),
)
def test_workers_give_the_batches_that_the_calling_process_gives(
    options: dict[str, Any], expected: list[Batches]
) -> None:
    dataset = LargeDataset("", "train", transforms=AUGMENT)
    found = epochs(DataLoader(dataset, batch_size=3, shuffle=True, **options), 5, 6, 5)
    assert all(map(same, found, expected))


def test_epoch_seed_alone_decides_order_and_augmentation(expected: list[Batches]) -> None:
    assert same(expected[0], expected[2])
    orders = [[idx for batch in batches for idx in batch["meta_info"]["idx"]] for batches in expected]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(7))

    def of_datapoint_0(batches: Batches) -> torch.Tensor:
        return next(
            image
            for batch in batches
            for idx, image in zip(batch["meta_info"]["idx"], batch["inputs"]["img_1"], strict=True)
            if idx == 0
        )

    assert not torch.equal(of_datapoint_0(expected[0]), of_datapoint_0(expected[1]))


def test_order_does_not_depend_on_the_global_generator() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=2, shuffle=True)
    torch.manual_seed(1)
    first = list(loader)
    state = torch.get_rng_state()
    assert same(first, list(loader))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("num_workers", [0, 2])
def test_dataset_that_draws_from_global_generators_is_repeatable(num_workers: int) -> None:
    reference = epochs(DataLoader(GloballyRandomDataset("", "train"), batch_size=1, shuffle=True), 3, 4)
    torch.manual_seed(12)
    loader = DataLoader(
        GloballyRandomDataset("", "train"), batch_size=1, shuffle=True, num_workers=num_workers
    )
    found = epochs(loader, 3, 4)
    assert all(map(same, found, reference))
    assert not same(found[0], found[1])


def test_epoch_that_was_left_early_does_not_leak_into_the_next() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, shuffle=True, num_workers=2)
    (whole,) = epochs(loader, 9)
    loader.set_epoch_seed(8)
    batches = iter(loader)
    next(batches)
    del batches
    assert same(epochs(loader, 9)[0], whole)


def test_seed_between_two_iterators_does_not_change_the_first() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, shuffle=True)
    (expected,) = epochs(loader, 1)
    loader.set_epoch_seed(1)
    batches = iter(loader)
    found = [next(batches)]
    loader.set_epoch_seed(2)
    assert same([*found, *batches], expected)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_seed_out_of_range_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=r"expected 0 to 2\*\*63 - 1"):
        DataLoader(SampleDataset("", "train"), batch_size=1).set_epoch_seed(seed)


def test_last_batch_is_kept_or_dropped_as_asked() -> None:
    dataset = SampleDataset("", "train")
    sizes = [len(batch["meta_info"]["idx"]) for batch in DataLoader(dataset, batch_size=3)]
    assert sizes == [3, 3, 1]
    assert len(list(DataLoader(dataset, batch_size=3, drop_last=True))) == 2


@pytest.mark.parametrize("num_workers", [0, 2])
def test_damaged_datapoint_is_reported_in_its_own_words(num_workers: int) -> None:
    error = error_of(DamagedDataset("", "train"), num_workers)
    assert isinstance(error, DatasetDamagedError)
    assert str(error) == "/data/train-3.png: cannot be decoded. Copy the file again."


@pytest.mark.parametrize("num_workers", [0, 2])
def test_batch_of_different_shapes_is_reported_in_collates_words(num_workers: int) -> None:
    error = error_of(UnevenDataset("", "train"), num_workers)
    assert isinstance(error, DatasetContractError)
    assert str(error).startswith("datapoints idx=4 and idx=5 cannot be one batch")


def test_error_is_in_no_reference_cycle() -> None:
    """In a cycle with torch's iterator, it would hold the workers up for 5 s each when it is collected."""
    loader = DataLoader(DamagedDataset("", "train"), batch_size=2, num_workers=1)
    gc.disable()
    try:
        try:
            list(loader)
        except DatasetDamagedError as error:
            freed_by_count = weakref.ref(error)
        assert freed_by_count() is None
    finally:
        gc.enable()


def test_damaged_datapoint_reaches_no_collate_function_of_the_user() -> None:
    def names(datapoints: list[Any]) -> list[str]:
        return [datapoint["meta_info"]["name"] for datapoint in datapoints]

    loader = DataLoader(DamagedDataset("", "train"), batch_size=2, num_workers=1, collate_fn=names)
    batches = iter(loader)
    assert next(batches) == ["train-0", "train-1"]
    with pytest.raises(DatasetDamagedError):
        next(batches)


def test_killed_worker_ends_the_epoch_with_an_error() -> None:
    # One worker: a second could be left waiting for a lock of the dead one, and torch gives it 5 s to end.
    loader = DataLoader(KilledDataset("", "train"), batch_size=1, num_workers=1)
    with pytest.raises(LoaderWorkerError, match="KilledDataset"):
        list(loader)


def test_batch_lost_with_its_worker_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def reset(*_: Any, **__: Any) -> Any:
        raise ConnectionResetError(104, "Connection reset by peer")

    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=1)
    batches = iter(loader)
    next(batches)
    monkeypatch.setattr("multiprocessing.queues.Queue.get", reset)
    with pytest.raises(LoaderWorkerError, match=r"could not be received .*reset by peer.*fewer num_workers"):
        list(batches)
    loader.close()


def test_workers_do_not_inherit_the_signal_handling_of_the_run() -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)
    former = {number: signal.getsignal(number) for number in numbers}
    for number in former:
        signal.signal(number, lambda *_: None)
    try:
        (batch,) = list(DataLoader(SignalsDataset("", "test", indices=[0]), batch_size=1, num_workers=1))
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    assert batch["meta_info"]["handlers"] == [[str(signal.SIG_IGN)] * 5]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signal_to_all_processes_of_a_job_leaves_the_epoch_whole(number: signal.Signals) -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=2, prefetch_factor=1)
    former = signal.signal(number, lambda *_: None)
    try:
        batches = iter(loader)
        seen = [next(batches)]
        for process in multiprocessing.active_children():
            os.kill(process.pid, number)
        seen += batches
    finally:
        signal.signal(number, former)
        loader.close()
    assert [batch["meta_info"]["idx"] for batch in seen] == [[index] for index in range(7)]


@pytest.mark.slow
def test_worker_in_the_middle_of_a_datapoint_dies_with_its_killed_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, time\n"
        "from pylon.data import DataLoader\n"
        "from tests.data.samples import SampleDataset\n"
        "class Slow(SampleDataset):\n"
        "    def _load_datapoint(self, annotation):\n"
        "        if annotation != self._datapoints[0]:\n"
        "            print('waiting', flush=True)\n"
        "            time.sleep(1000)\n"
        "        return super()._load_datapoint(annotation)\n"
        "batch = next(iter(DataLoader(Slow('', 'train'), batch_size=1, num_workers=1)))\n"
        "print(batch['meta_info']['process'][0], flush=True)\n"
        "time.sleep(1000)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, str(program)], cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        said = {run.stdout.readline().strip(), run.stdout.readline().strip()}
        run.kill()
    (pid,) = said - {"waiting"}
    worker = Path(f"/proc/{pid}/stat")
    until = time.monotonic() + 60
    try:
        while worker.exists() and worker.read_text().rpartition(")")[2].split()[0] != "Z":
            assert time.monotonic() < until, "the worker outlives its run"
            time.sleep(0.05)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)


@pytest.mark.slow
def test_worker_that_hangs_is_gone_after_close_and_at_the_interpreters_exit(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import os, signal, sys, time\n"
        "from pylon.data import DataLoader\n"
        "from tests.data.samples import SampleDataset\n"
        "loader = DataLoader(SampleDataset('', 'train'), batch_size=1, num_workers=1)\n"
        "batch = next(iter(loader))\n"
        "pid = batch['meta_info']['process'][0]\n"
        "os.kill(pid, signal.SIGSTOP)\n"
        "print(pid, flush=True)\n"
        "if sys.argv[1] == 'close':\n"
        "    loader.close()\n"
        "    print(os.path.exists(f'/proc/{pid}'), flush=True)\n"
    )
    for how in ("close", "exit"):
        ended = subprocess.run(
            [sys.executable, str(program), how], cwd=REPOSITORY, capture_output=True, text=True, timeout=100,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        pid, *gone = ended.stdout.split()
        assert not Path(f"/proc/{pid}").exists()
        assert gone == (["False"] if how == "close" else [])


@pytest.mark.slow
@pytest.mark.parametrize("context", [None, "forkserver"])
def test_second_worker_and_second_epoch_find_what_the_first_decoded(
    context: str | None, tmp_path: Path
) -> None:
    dataset = CountedDataset(tmp_path, "train", cache=SharedImageCache(10_000))
    loader = DataLoader(dataset, batch_size=1, num_workers=2, multiprocessing_context=context)
    first, second = epochs(loader, 0, 1)
    processes = {process for batch in first + second for process in batch["meta_info"]["process"]}
    assert len(processes) == 2
    # Both may have missed it at the very start, when none had put it there yet.
    assert 1 <= dataset.decodings() <= 2
    assert dataset[0]["meta_info"]["sum"] == first[0]["meta_info"]["sum"][0]
    assert dataset.decodings() <= 2


def test_without_a_cache_every_access_decodes(tmp_path: Path) -> None:
    dataset = CountedDataset(tmp_path, "train")
    list(DataLoader(dataset, batch_size=1))
    assert dataset.decodings() == 7


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("shuffle", [False, True])
def test_epoch_begun_at_a_batch_gives_the_rest_of_the_whole_one(shuffle: bool, num_workers: int) -> None:
    dataset = LargeDataset("", "train", transforms=AUGMENT)
    loader = DataLoader(dataset, batch_size=2, shuffle=shuffle, num_workers=num_workers)
    (whole,) = epochs(loader, 7)
    # The same loader again, so that persistent workers go through it too.
    for first in range(len(whole) + 1):
        loader.set_epoch_seed(7, range(first, len(whole)))
        assert same(list(loader), whole[first:])
        assert len(loader) == len(whole)
    loader.set_epoch_seed(7)
    assert same(list(loader), whole), "the start is of one epoch only"


def test_batches_before_the_first_one_asked_for_are_not_loaded() -> None:
    from pylon.data.sampler import EpochSampler

    sampler = EpochSampler(10, shuffle=True)
    sampler.set_epoch_seed(3)
    order = [one.index for one in sampler]
    sampler.set_epoch_seed(3, [range(6, 10)])
    assert [one.index for one in sampler] == order[6:]
    with pytest.raises(ValueError, match="expected positions from 0 to 9"):
        sampler.set_epoch_seed(3, [range(8, 11)])


@pytest.mark.parametrize("shuffle", [False, True])
def test_seeds_computed_ahead_are_those_that_a_worker_computes(shuffle: bool) -> None:
    from pylon.data.sampler import EpochSampler

    for spans in (None, [range(700, 705), range(5)]):
        plain, ahead = (EpochSampler(1000, shuffle=shuffle, computes_seeds=one) for one in (False, True))
        plain.set_epoch_seed(3, spans)
        ahead.set_epoch_seed(3, spans)
        found = list(ahead)
        assert found == [one.computed() for one in plain]
        assert found == [one.computed() for one in found]


def test_batches_are_asked_for_in_order_and_within_the_epoch() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=2)
    for wrong in ([1, 0], [0, 0], [-1], [len(loader)]):
        with pytest.raises(ValueError, match="batches: "):
            loader.set_epoch_seed(1, wrong)
    loader.set_epoch_seed(1, [])
    assert list(loader) == []


@given(
    length=st.integers(1, 40),
    form=st.fixed_dictionaries(
        {"batch_size": st.integers(1, 9), "shuffle": st.booleans(), "drop_last": st.booleans()}
    ),
    seed=st.integers(0, 2**63 - 1),
    data=st.data(),
)
def test_any_choice_of_batches_gives_just_those_of_the_whole_epoch(
    length: int, form: dict[str, Any], seed: int, data: st.DataObject
) -> None:
    class Numbers(SampleDataset):
        def _list_datapoints(self) -> list[int]:
            return [f"train-{number}" for number in range(length)]

    loader = DataLoader(
        Numbers("", "train"),
        collate_fn=lambda datapoints: [one["meta_info"]["idx"] for one in datapoints],
        **form,
    )
    loader.set_epoch_seed(seed)
    whole = list(loader)
    indices = [index for batch in whole for index in batch]
    assert len(set(indices)) == len(indices)
    assert form["drop_last"] or sorted(indices) == list(range(length))
    wanted = sorted(data.draw(st.sets(st.integers(0, len(whole) - 1)))) if whole else []
    loader.set_epoch_seed(seed, wanted)
    assert list(loader) == [whole[number] for number in wanted]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_closed_in_the_middle_of_an_epoch_the_workers_are_gone_at_once_and_it_can_be_iterated_again(
    num_workers: int,
) -> None:
    import time

    loader = DataLoader(SampleDataset("", "train"), batch_size=1, num_workers=num_workers)
    (whole,) = epochs(loader, 3)
    batches = iter(loader)
    next(batches)
    workers = [] if loader._iterator is None else list(loader._iterator._workers)
    begun_s = time.monotonic()
    loader.close()
    loader.close()
    assert time.monotonic() - begun_s < 4
    assert [worker.is_alive() for worker in workers] == [False] * num_workers
    del batches
    assert same(epochs(loader, 3)[0], whole)
    loader.close()
