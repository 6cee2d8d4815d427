"""A validation score that is undefined is no epoch's best; what is tested then is said."""

import json

import pytest

from tests.runners.conftest import Toy
from tests.runners.training.test_rehearsal import METRIC, log, run, write

UNDEFINED = """
class Undefined({base}):
    def summarize(self, *arguments):
        summary = super().summarize(*arguments)
        score = float({value!r}) if {value!r} else None
        return {{**summary, "aggregated": {{**summary["aggregated"], "f1_changed": score}}}}
config["metric"]["class"] = Undefined
"""

LATER = """
class Later(Undefined):
    epochs = 0

    def summarize(self, *arguments):
        Later.epochs += 1
        # The rehearsal has summarized the validation and the test.
        known = 0.5 if Later.epochs == 4 else None
        summary = super().summarize(*arguments)
        return {**summary, "aggregated": {**summary["aggregated"], "f1_changed": known}}
config["metric"]["class"] = Later
"""


@pytest.mark.parametrize("value", ["", "nan", "inf", "-inf"])
def test_score_undefined_in_every_epoch_is_a_warning_and_the_newest_weights_are_tested(
    toy: Toy, value: str
) -> None:
    run(write(toy, UNDEFINED.format(base=METRIC, value=value)))
    text = log(toy)
    assert "(best)" not in text
    (warning,) = [line for line in text.splitlines() if "WARNING" in line and "epochs" in line]
    assert "validation f1_changed was undefined (None or NaN) in all 3 epochs" in warning
    assert "The weights of epoch 3 are tested." in warning
    assert (toy.work_dir / "checkpoint_best.pt").resolve().parent.name == "epoch_2"
    result = json.loads((toy.work_dir / "test/test_results.json").read_text())
    assert (result["checkpoint"], result["aggregated"]["f1_changed"]) == ("epoch_2", None)


def test_first_epoch_with_a_score_is_the_best_of_those_before_it(toy: Toy) -> None:
    run(write(toy, UNDEFINED.format(base=METRIC, value="") + LATER))
    text = log(toy)
    assert "epochs, so that none is the best" not in text
    assert text.count("(best)") == 1
    assert (toy.work_dir / "checkpoint_best.pt").resolve().parent.name == "epoch_1"
