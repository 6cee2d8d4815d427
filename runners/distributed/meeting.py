"""A place in the store that is this launch's alone.

torchrun keeps one store over all its restarts (--max-restarts), and torch 2.13 puts the addresses of the
ranks under the same names each time: ranks that were started again find those of the dead ones, and fail to
connect. Its own count of restarts does not distinguish the launches, as it differs between machines. So the
first rank gives the launch a number, and each other rank makes sure that the number it reads is an answer
to itself:

    rank k    hello/k = nonce                                     ack/number/k
    rank 0                     reply/k/nonce = number                            (until all have)
"""

import time
import uuid
from datetime import timedelta

from torch.distributed import (  # type: ignore[attr-defined]  # public, but not in torch's __all__
    PrefixStore,
    Store,
)

_POLL_S = 0.02


def own_store(store: Store, rank: int, size: int, timeout: timedelta) -> Store:
    """The part of the store that belongs to the ranks that call this now, each once.

    Args:
        store: what all launches share.
        rank: of this process.
        size: how many there are.
        timeout: for the others to come.

    Raises:
        RuntimeError: they did not.
    """
    number = _number_for_all(store, size, timeout) if rank == 0 else _number_from_first(store, rank, timeout)
    return PrefixStore(f"pylon/launch/{number}", store)


def _number_for_all(store: Store, size: int, timeout: timedelta) -> str:
    number = str(store.add("pylon/launches", 1))
    missing, answered = set(range(1, size)), set()
    until = time.monotonic() + timeout.total_seconds()
    while missing:
        for rank in sorted(missing):
            if store.check([f"pylon/ack/{number}/{rank}"]):
                missing.discard(rank)
            elif store.check([f"pylon/hello/{rank}"]):
                nonce = store.get(f"pylon/hello/{rank}").decode()
                if nonce not in answered:
                    # It may be of a former launch; then the rank itself is still to come.
                    answered.add(nonce)
                    store.set(f"pylon/reply/{rank}/{nonce}", number)
        if missing and time.monotonic() > until:
            raise RuntimeError(f"ranks {sorted(missing)} did not come within {timeout}")
        if missing:
            time.sleep(_POLL_S)
    return number


def _number_from_first(store: Store, rank: int, timeout: timedelta) -> str:
    nonce = uuid.uuid4().hex
    store.set(f"pylon/hello/{rank}", nonce)
    store.wait([f"pylon/reply/{rank}/{nonce}"], timeout)
    number = store.get(f"pylon/reply/{rank}/{nonce}").decode()
    store.set(f"pylon/ack/{number}/{rank}", "")
    return number
