import errno
import itertools
import logging
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import pytest

import pylon.data.cache as data_cache
from pylon.data import SharedImageCache

METHODS = ["fork", "forkserver", "spawn"]


def image(seed: int, size: int = 500) -> Any:
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)


def put_from_child(cache: SharedImageCache) -> None:
    cache.put("child", (image(1).reshape(20, 25), image(2, 3)))


def get_in_child(cache: SharedImageCache, connection: Any) -> None:
    found = cache.get("parent")
    connection.send(None if found is None else [array.tolist() for array in found])


def hold_lock(cache: SharedImageCache, connection: Any) -> None:
    with cache._lock.held():
        connection.send("held")
        time.sleep(600)


def put_for_ever(cache: SharedImageCache) -> None:
    # The same few again and again: on a loaded machine a worker may live so long that more would fill it.
    for number in itertools.cycle(range(200)):
        cache.put(f"{os.getpid()}/{number}", (image(number % 7, 100),))
        cache.get(f"{os.getpid()}/{number // 2}")


@pytest.fixture
def start() -> Iterator[Callable[..., BaseProcess]]:
    started: list[BaseProcess] = []

    def run(target: Callable[..., None], *args: Any, method: str = "fork") -> BaseProcess:
        process = multiprocessing.get_context(method).Process(target=target, args=args)  # type: ignore[attr-defined]
        process.start()
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.join()


def test_arrays_come_back_in_bits_and_shape() -> None:
    cache = SharedImageCache(10_000)
    arrays = (image(0, 600).reshape(10, 20, 3), image(1, 200).reshape(10, 20), np.zeros((0, 4), np.uint8))
    assert cache.get("a") is None
    assert cache.put("a", arrays)
    found = cache.get("a")
    assert found is not None
    assert all(map(np.array_equal, found, arrays))
    assert [array.shape for array in found] == [(10, 20, 3), (10, 20), (0, 4)]


def test_arrays_that_are_no_block_of_memory_are_kept_too() -> None:
    cache = SharedImageCache(10_000)
    window = image(0).reshape(20, 25)[3:9, 4:8]
    cache.put("window", (window,))
    (found,) = cache.get("window") or ()
    assert np.array_equal(found, window)


def test_cached_image_cannot_be_written_to() -> None:
    cache = SharedImageCache(10_000)
    cache.put("a", (image(0),))
    (found,) = cache.get("a") or ()
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_entry_is_a_copy_and_is_never_replaced() -> None:
    cache = SharedImageCache(10_000)
    array = image(0)
    cache.put("a", (array,))
    array[:] = 0
    assert not cache.put("a", (array,))
    (found,) = cache.get("a") or ()
    assert np.array_equal(found, image(0))


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_child_finds_what_the_parent_put(method: str, start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(10_000)
    cache.put("parent", (image(0),))
    ours, theirs = multiprocessing.Pipe()
    start(get_in_child, cache, theirs, method=method)
    assert ours.poll(60)
    assert ours.recv() == [image(0).tolist()]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_parent_finds_what_a_child_put(method: str, start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(10_000)
    process = start(put_from_child, cache, method=method)
    process.join(60)
    assert process.exitcode == 0
    found = cache.get("child")
    assert found is not None
    assert np.array_equal(found[0], image(1).reshape(20, 25))
    assert np.array_equal(found[1], image(2, 3))


def test_full_cache_refuses_says_so_once_and_keeps_what_it_has(
    caplog: pytest.LogCaptureFixture, start: Callable[..., BaseProcess]
) -> None:
    cache = SharedImageCache(1_200)
    assert cache.put("a", (image(0),))
    with caplog.at_level(logging.WARNING):
        # In a child first: the one message is one for all processes.
        child = start(put_and_expect_refusal, cache)
        child.join(60)
        assert child.exitcode == 0
        assert not cache.put("c", (image(2, 900),))
    assert caplog.messages == []
    assert cache.get("c") is None
    assert len(cache) == 1
    assert cache.used_bytes <= cache.capacity_bytes
    assert cache.get("a") is not None


def put_and_expect_refusal(cache: SharedImageCache) -> None:
    records: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("pylon.data.cache").addHandler(handler)
    refused = [cache.put(key, (image(1, 900),)) for key in "bde"] == [False] * 3
    told = len(records) == 1 and "full with 1 entries" in records[0] and "of 1200 bytes" in records[0]
    os._exit(0 if refused and told else 1)


def test_small_image_still_fits_beside_one_that_did_not() -> None:
    cache = SharedImageCache(1_000)
    assert not cache.put("large", (image(0, 2000),))
    assert cache.put("small", (image(0, 100),))


def test_number_of_entries_is_bounded_too() -> None:
    cache = SharedImageCache(100_000, max_entries=3)
    assert [cache.put(str(number), (image(number, 10),)) for number in range(5)] == [True] * 3 + [False] * 2
    assert all(cache.get(str(number)) is not None for number in range(3))
    assert cache.get("4") is None


def test_memory_that_the_system_refuses_costs_entries_not_the_process(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cache = SharedImageCache(10_000)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    assert not cache.put("a", (image(0),))
    assert cache.get("a") is None
    assert any("No space left" in message for message in caplog.messages)


def test_impossible_capacity_is_refused_with_the_key() -> None:
    with pytest.raises(ValueError, match=r"capacity_bytes: .*Lower it"):
        SharedImageCache(2**62)
    with pytest.raises(ValueError, match="at least 1"):
        SharedImageCache(0)


@pytest.mark.slow
def test_python_without_memfd_shares_all_the_same(
    monkeypatch: pytest.MonkeyPatch, start: Callable[..., BaseProcess]
) -> None:
    monkeypatch.delattr(os, "memfd_create")
    cache = SharedImageCache(10_000)
    start(put_from_child, cache, method="forkserver").join(60)
    assert cache.get("child") is not None


def test_keys_of_the_same_digest_are_not_mixed_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_cache, "_digest", lambda key: 7)
    cache = SharedImageCache(10_000)
    assert cache.put("a", (image(0),))
    assert not cache.put("b", (image(1),))
    assert cache.get("b") is None
    assert cache.get("a") is not None


def test_keys_that_meet_in_the_table_are_all_found(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SharedImageCache(10_000, max_entries=8)
    monkeypatch.setattr(data_cache, "_digest", lambda key: int(key) * cache._rows_in_table - 1)
    for number in range(8):
        assert cache.put(str(number), (image(number, 10),))
    for number in range(8):
        (found,) = cache.get(str(number)) or ()
        assert np.array_equal(found, image(number, 10))


def test_worker_killed_inside_the_lock_opens_it(start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(10_000)
    ours, theirs = multiprocessing.Pipe()
    process = start(hold_lock, cache, theirs)
    assert ours.recv() == "held"
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)
    assert cache.put("a", (image(0),))
    assert cache.get("a") is not None


def test_worker_stopped_inside_the_lock_costs_a_miss_not_a_hang(start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(10_000)
    cache.put("a", (image(0),))
    ours, theirs = multiprocessing.Pipe()
    process = start(hold_lock, cache, theirs)
    assert ours.recv() == "held"
    os.kill(process.pid or 0, signal.SIGSTOP)
    assert cache.get("a") is None
    assert not cache.put("b", (image(1),))
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join(10)
    assert cache.get("a") is not None


@pytest.mark.slow
def test_workers_killed_at_any_moment_leave_a_cache_that_works(start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(2_000_000)
    moments = random.Random(3)
    for turn in range(25):
        workers = [start(put_for_ever, cache) for _ in range(2)]
        time.sleep(moments.uniform(0.001, 0.03))
        for worker in workers:
            worker.kill()
            worker.join()
        assert cache.put(f"turn {turn}", (image(turn, 100),))
    for turn in range(25):
        (found,) = cache.get(f"turn {turn}") or ()
        assert np.array_equal(found, image(turn, 100))


def test_entry_of_a_writer_that_died_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    cache = SharedImageCache(10_000)

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(data_cache, "_pack", die)
        with pytest.raises(KeyboardInterrupt):
            cache.put("a", (image(0),))
    assert cache.get("a") is None
    assert not cache.put("a", (image(0),))
    assert cache.put("b", (image(1),))


def test_child_forked_while_a_thread_holds_the_lock_is_not_stuck(start: Callable[..., BaseProcess]) -> None:
    cache = SharedImageCache(10_000)
    cache.put("parent", (image(0),))
    ours, theirs = multiprocessing.Pipe()
    with cache._lock._threads:
        start(get_in_child, cache, theirs)
        assert ours.poll(20)
        assert ours.recv() == [image(0).tolist()]
