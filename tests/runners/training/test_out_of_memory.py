"""Memory that ends outside a training step: in validation, in the test, and while a batch is read."""

import pytest

from pylon.runners.errors import ConfigError, PylonError, TrainingError
from tests.runners.conftest import Toy
from tests.runners.training.test_rehearsal import log, run, steps, write

GREEDY = """
class Greedy(SemanticSegmentationMetric):
    # The validation has two updates, and so has the test after it.
    updates = 0

    def update(self, outputs, target, idx):
        Greedy.updates += 1
        if Greedy.updates == {at_update}:
            {error}
        super().update(outputs, target, idx)

config["metric"]["class"] = Greedy
config["epochs"] = 1
"""
ERRORS = {
    "torch": "torch.empty(2**58)",
    "Python": "raise MemoryError",
    "GPU": "raise torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 3 GiB')",
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS.keys())
@pytest.mark.parametrize(("at_update", "loader"), [(2, "val_dataloader"), (3, "test_dataloader")])
def test_end_in_an_evaluation_is_explained_with_its_own_batch_size(
    toy: Toy, at_update: int, loader: str, error: str
) -> None:
    path = write(toy, GREEDY.format(at_update=at_update, error=error))
    with pytest.raises(TrainingError, match=rf"(?s)^Out of memory: .*Try a smaller {loader}.args.batch_size"):
        run(path, rehearsal=False)


READING = """
class Large(ToyDataset):
    def _load_datapoint(self, annotation):
        raise MemoryError("no room for an image")

config["{split}_dataset"]["class"] = Large
config["{split}_dataloader"]["args"]["num_workers"] = {workers}
"""


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "val"])
def test_memory_that_ends_while_a_batch_is_read_is_not_blamed_on_copies(
    toy: Toy, split: str, workers: int
) -> None:
    with pytest.raises(PylonError) as caught:
        run(write(toy, READING.format(split=split, workers=workers)))
    assert isinstance(caught.value, ConfigError)
    text = str(caught.value)
    assert f"{split}_dataset is Large: fails when a batch is read: MemoryError: no room for an image" in text
    assert f"a smaller {split}_dataloader.args.batch_size or fewer num_workers" in text
    assert "in _load_datapoint: raise MemoryError" in text
    assert "the rehearsal is left out" not in log(toy)
    assert steps(toy) == 0
