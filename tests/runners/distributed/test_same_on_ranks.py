"""Ranks add up and share by place: what one of them has in another order is refused by all."""

from pathlib import Path

import pytest

from tests.runners.distributed.ranks import Ranks

pytestmark = pytest.mark.slow

CONFIG = """
import os
from tests.runners.toy import *

RANK = int(os.environ["RANK"])

class Turned(ToyDataset):
    def _list_datapoints(self):
        datapoints = list(super()._list_datapoints())
        return datapoints[::-1] if RANK else datapoints

class Swapped(ToyModel):
    def __init__(self):
        super().__init__()
        first, second = nn.Conv2d(6, 6, 1), nn.Conv2d(6, 6, 1)
        for name, layer in [("b", second), ("a", first)] if RANK else [("a", first), ("b", second)]:
            self.add_module(name, layer)

    def forward(self, img_1, img_2):
        both = self.b(self.a(torch.cat([img_1, img_2], dim=1)))
        return self.layers(both)

class Weighted(ToyCriterion):
    def __init__(self):
        super().__init__()
        for name in ["others", "changed"] if RANK else ["changed", "others"]:
            self.register_buffer(name, torch.ones(()))

config = toy_config(WORK_DIR)
"""
CASES = {
    "data": (
        'config["val_dataset"]["class"] = Turned',
        "val_dataset: rank 1 has 5 datapoints, list ",
    ),
    "buffers": (
        'config["criterion"] = {"class": Weighted, "args": {}}',
        "criterion: rank 1 has others () where rank 0 has changed (). Make",
    ),
    "model": (
        'config["model"] = {"class": Swapped, "args": {}}',
        "model: rank 1 has b.weight (6, 6, 1, 1) where rank 0 has a.weight (6, 6, 1, 1). Make",
    ),
}


@pytest.mark.parametrize(("change", "text"), CASES.values(), ids=CASES.keys())
def test_other_order_on_a_rank_is_refused_before_the_first_step(
    tmp_path: Path, change: str, text: str
) -> None:
    config = tmp_path / "own.py"
    config.write_text(f"{CONFIG.replace('WORK_DIR', repr(str(tmp_path / 'run')))}{change}\n")
    ended = Ranks(2, config, tmp_path).end()
    assert ended.codes == [1, 1]
    assert text in ended.said[0]
    assert "sorted()" in ended.said[0]
    assert not list((tmp_path / "run").glob("epoch_*"))
