"""Data of torch's kind on two ranks: the training of one process."""

import pytest
import torch

from tests.runners.distributed.conftest import Lab
from tests.runners.distributed.ranks import Ended, Ranks
from tests.runners.distributed.test_equality import losses, scores, weights

pytestmark = pytest.mark.ci

LINEAR = "model={'class': torch.nn.Linear, 'args': {'in_features': 3, 'out_features': 1}}"


def trained(lab: Lab, name: str, ranks: int, kind: str, changes: str) -> Ended:
    path = lab.folder / f"{name}_config.py"
    path.write_text(
        "from tests.runners.any_data import *\n"
        f"config = any_config({str(lab.directory(name))!r}, {kind!r}, {LINEAR}, {changes})\n"
    )
    return Ranks(ranks, path, lab.folder).end()


@pytest.mark.parametrize("kind", ["tuple", "sampler", "stream"])
def test_two_ranks_train_a_regression_as_one_process(lab: Lab, kind: str) -> None:
    together = trained(lab, "together", 2, kind, "")
    assert together.codes == [0, 0], together.said
    alone = trained(lab, "alone", 1, kind, "stepping={'accumulate_batches': 2}")
    assert alone.codes == [0], alone.said
    assert torch.equal(losses(lab.directory("together")), losses(lab.directory("alone")))
    assert scores(lab.directory("together")) == scores(lab.directory("alone"))
    for name, value in weights(lab.directory("alone")).items():
        assert torch.equal(weights(lab.directory("together"))[name], value), name


def test_metric_of_torchmetrics_scores_what_both_ranks_have_seen(lab: Lab) -> None:
    metric = "metric=MSE, score='MeanSquaredError'"
    together = trained(lab, "together", 2, "tuple", metric)
    assert together.codes == [0, 0], together.said
    assert trained(lab, "alone", 1, "tuple", f"{metric}, stepping={{'accumulate_batches': 2}}").codes == [0]
    pairs = list(zip(scores(lab.directory("together")), scores(lab.directory("alone")), strict=True))
    assert len(pairs) == 4
    for (aggregated, each), (expected, each_expected) in pairs:
        assert aggregated == pytest.approx(expected, rel=1e-5)
        assert each == each_expected
