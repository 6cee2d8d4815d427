"""Ranks that torchrun has started again must not meet those of the launch before."""

import threading
from datetime import timedelta

import pytest
from torch.distributed import HashStore, Store

from pylon.runners.distributed.meeting import own_store

SOON = timedelta(seconds=20)


def meet(store: Store, size: int, absent: frozenset[int] = frozenset()) -> dict[int, str]:
    """Each rank's view: what it reads at a place where the first one has written."""
    seen: dict[int, str] = {}

    def take_part(rank: int) -> None:
        own = own_store(store, rank, size, SOON)
        if rank == 0:
            own.set("place", "written by this launch's first rank")
        seen[rank] = own.get("place").decode()

    threads = [threading.Thread(target=take_part, args=(rank,)) for rank in range(size) if rank not in absent]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def test_each_launch_has_a_place_of_its_own_in_the_same_store() -> None:
    store = HashStore()
    places = []
    for _ in range(3):
        assert set(meet(store, 3)) == {0, 1, 2}
        places.append(own_store(store, 0, 1, SOON))
    assert all(not place.check(["place"]) for place in places)


def test_hello_of_a_dead_rank_is_not_taken_for_the_new_one() -> None:
    store = HashStore()
    store.set("pylon/hello/1", "the nonce of a rank that was killed before it had its answer")
    assert set(meet(store, 2)) == {0, 1}


def test_rank_that_never_comes_is_named() -> None:
    with pytest.raises(RuntimeError, match=r"ranks \[1, 2\] did not come"):
        own_store(HashStore(), 0, 3, timedelta(seconds=0.2))
