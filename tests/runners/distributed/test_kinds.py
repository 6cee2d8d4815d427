"""The shipped examples on two ranks: the training of one process."""

import pytest
import torch

from tests.runners.distributed.conftest import Lab
from tests.runners.distributed.ranks import Ended, Ranks
from tests.runners.distributed.test_equality import losses, scores, weights

pytestmark = pytest.mark.ci

# Each rank draws numbers of its own for dropout.
MODEL = {"text": {"dropout": 0.0}}


def trained(lab: Lab, name: str, ranks: int, kind: str) -> Ended:
    stepping = {"accumulate_batches": 2 // ranks}
    path = lab.folder / f"{name}_config.py"
    path.write_text(
        "from pylon.runners import Stepping\n"
        "from tests.shutdown.resume_subjects import subject_config\n"
        f"stepping = {{'class': Stepping, 'args': {stepping}}}\n"
        f"config = subject_config({kind!r}, {str(lab.directory(name))!r}, stepping=stepping)\n"
        f"config['model']['args'] |= {MODEL.get(kind, {})}\n"
    )
    return Ranks(ranks, path, lab.folder).end()


@pytest.mark.parametrize("kind", ["image-classification", "tabular", "text", "two-models"])
def test_two_ranks_train_each_kind_as_one_process(lab: Lab, kind: str) -> None:
    together = trained(lab, "together", 2, kind)
    assert together.codes == [0, 0], together.said
    alone = trained(lab, "alone", 1, kind)
    assert alone.codes == [0], alone.said
    assert len(losses(lab.directory("alone"))) >= 10
    assert torch.equal(losses(lab.directory("together")), losses(lab.directory("alone")))
    assert scores(lab.directory("together")) == scores(lab.directory("alone"))
    for name, value in weights(lab.directory("alone")).items():
        assert torch.equal(weights(lab.directory("together"))[name], value), name
