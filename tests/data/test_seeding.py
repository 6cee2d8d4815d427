import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.data.seeding import datapoint_seed

SEEDS = st.integers(0, 2**63 - 1)


@pytest.mark.slow
def test_datapoint_seed_is_the_same_in_every_process() -> None:
    code = "from pylon.data.seeding import datapoint_seed; print(datapoint_seed(20230801, 17))"
    results = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for hash_seed in ("1", "2")
    }
    # Written down: a change would silently change every run that was ever made.
    assert results == {str(datapoint_seed(20230801, 17))} == {"7470894886475904453"}


@given(SEEDS, st.integers(-1, 10**6))
def test_datapoint_seed_is_one_that_every_generator_takes(seed: int, index: int) -> None:
    assert 0 <= datapoint_seed(seed, index) < 2**63


def test_neighbouring_epochs_and_indices_share_no_seed() -> None:
    seeds = {datapoint_seed(epoch, index) for epoch in range(50) for index in range(-1, 500)}
    assert len(seeds) == 50 * 501
