"""Whatever validation or the test raises, the trained epoch is kept, and what the error advises works."""

import pytest

from pylon.data import DataError
from pylon.runners.errors import PylonError, RunDirectoryError, TrainingError
from tests.runners.conftest import Toy
from tests.runners.training.test_rehearsal import METRIC, MIXED, log, run, steps, write

RAISING = """
class Raising({base}):
    def update(self, *arguments):
        if Path({bug!r}).exists():
            raise {error}
        super().update(*arguments)
config["metric"]["class"] = Raising
config["epochs"] = 1
"""


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ("KeyboardInterrupt", KeyboardInterrupt),
        ("MemoryError", TrainingError),
        ("SystemExit(0)", TrainingError),
        ("OSError(5, 'Input/output error')", PylonError),
    ],
)
def test_trained_epoch_is_kept_whatever_validation_raises(
    toy: Toy, error: str, raised: type[BaseException]
) -> None:
    bug = toy.folder / "bug"
    bug.touch()
    path = write(toy, RAISING.format(base=METRIC, bug=str(bug), error=error))
    with pytest.raises(raised):
        run(path, rehearsal=False)
    assert (toy.work_dir / "epoch_0" / "trained.pt").exists()
    state = (toy.work_dir / "state.json").read_text()
    assert '"running"' not in state
    bug.unlink()
    run(path)
    assert steps(toy) == 3, "the validation alone is done again"


STRICT = """
from pylon.runners import EarlyStopping
class Undefined(SemanticSegmentationMetric):
    def summarize(self, *arguments):
        summary = super().summarize(*arguments)
        return {**summary, "aggregated": {**summary["aggregated"], "f1_changed": None}}
config["metric"]["class"] = Undefined
config["epochs"] = 1
config["runner"]["args"]["early_stopping"] = {
    "class": EarlyStopping, "args": {"patience": 3, "undefined_score": "error"}
}
"""


def test_trained_epoch_is_kept_if_its_score_may_not_be_undefined_and_the_advice_works(toy: Toy) -> None:
    with pytest.raises(TrainingError, match="let it count as 'worst'"):
        run(write(toy, STRICT))
    assert (toy.work_dir / "epoch_0" / "trained.pt").exists()
    run(write(toy, STRICT.replace('"error"', '"worst"')))
    assert steps(toy) == 3


def with_batches_of_one(split: str) -> str:
    return MIXED.format(split=split, small=(1,)) + f"config['{split}_dataloader']['args']['batch_size'] = 1\n"


def test_batch_size_of_the_test_may_change_after_the_last_epoch(toy: Toy) -> None:
    with pytest.raises(DataError, match="use batch_size=1"):
        run(write(toy, MIXED.format(split="test", small=(1,))), rehearsal=False)
    assert (toy.work_dir / "epoch_2" / "checkpoint.pt").exists()
    fixed = with_batches_of_one("test")
    other = fixed + "config['optimizer']['args']['lr'] = 0.2\n"
    with pytest.raises(RunDirectoryError, match=r"optimizer.args.lr: was 0.1, now 0.2") as caught:
        run(write(toy, other))
    assert "test_dataloader" not in str(caught.value), "only what must not change is named"
    run(write(toy, fixed))
    (line,) = [line for line in log(toy).splitlines() if "no result that depends on it" in line]
    assert line.endswith("depends on it: test_dataloader.args.batch_size")
    assert steps(toy) == 9


def test_finished_run_is_not_taken_for_one_with_other_test_data(toy: Toy) -> None:
    run(toy.write("epochs=1"))
    changed = "epochs=1, test_dataloader={'class': DataLoader, 'args': {'batch_size': 1}}"
    with pytest.raises(RunDirectoryError, match=r"test_dataloader.args.batch_size: was 4, now 1"):
        run(toy.write(changed))


def test_batch_size_of_the_validation_may_change_until_an_epoch_is_validated(toy: Toy) -> None:
    # The first launch takes 3 steps, and the second one fails in its fifth.
    fails = "criterion={'class': ToyCriterion, 'args': {'at_call': 5, 'what': 'raise'}}"
    with pytest.raises(DataError, match="use batch_size=1"):
        run(write(toy, MIXED.format(split="val", small=(1,)), fails), rehearsal=False)
    assert (toy.work_dir / "epoch_0" / "trained.pt").exists()
    fixed = with_batches_of_one("val")
    with pytest.raises(PylonError, match="the criterion broke"):
        run(write(toy, fixed, fails))
    assert "resuming after 0 finished epochs and 3 steps" in log(toy)
    with pytest.raises(RunDirectoryError, match=r"val_dataloader.args.batch_size: was 1, now 2"):
        run(write(toy, fixed.replace("'batch_size'] = 1", "'batch_size'] = 2"), fails))


def test_other_validation_data_are_accepted_until_an_epoch_is_validated(toy: Toy) -> None:
    with pytest.raises(DataError, match="cannot be one batch"):
        run(write(toy, MIXED.format(split="val", small=(1,))), rehearsal=False)
    fewer = "config['val_dataset']['args']['indices'] = [0, 2, 3, 4]\n"
    run(write(toy, MIXED.format(split="val", small=(1,)) + fewer))
    assert "the val data have changed since the last launch" in log(toy)
    assert steps(toy) == 9
