"""torch's iterator over batches that the training process reads itself."""

from typing import Any

import torch
from torch.utils.data.dataloader import _SingleProcessDataLoaderIter


class LocalIterator(_SingleProcessDataLoaderIter):
    """Names each batch to a profiler, as torch's does, but only if one runs.

    Unasked for, the name takes a tenth of the time between two steps. Not for an IterableDataset, whose
    batches torch counts.
    """

    def __next__(self) -> Any:  # noqa: ANN401 - any batch
        """The next batch."""
        if torch.autograd._profiler_enabled():  # type: ignore[attr-defined]  # no stub has it
            return super().__next__()
        self._num_yielded += 1
        return self._next_data()  # type: ignore[no-untyped-call]
