"""What a rehearsal leaves behind: no draw of a generator, and no object."""

import contextlib
import gc
import logging
import time
from collections.abc import Iterator

from pylon.runners.memory import is_out_of_memory
from pylon.runners.randomness import RandomState

_NOTED_FROM_S = 3.0
# Python 3.12 itself begins with some hundred frozen objects; who freezes has thousands.
_OF_PYTHON = 1000

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def undone(random: RandomState) -> Iterator[None]:
    """Restore the generators after the block, and do without it if memory is too small for copies."""
    started = time.monotonic()
    with _only_new_garbage(), random.kept():
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            logger.warning("the rehearsal is left out, as memory is too small for copies: %s", reason)
    time_s = time.monotonic() - started
    if time_s >= _NOTED_FROM_S:
        logger.info("rehearsed a batch of each pass in %.1f s (--no-rehearsal leaves this out)", time_s)


@contextlib.contextmanager
def _only_new_garbage() -> Iterator[None]:
    """Free at the end what the block has made, in cycles too, without a look at all that was there before.

    torch's modules alone are some hundred thousand objects: to look at them takes longer than a rehearsal.
    """
    ours = gc.get_freeze_count() < _OF_PYTHON
    if ours:
        gc.freeze()
    try:
        yield
        gc.collect()
    finally:
        if ours:
            gc.unfreeze()
