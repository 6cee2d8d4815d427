"""Seeds of a run: independent of each other and of the run's length, in range, the same everywhere."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pylon.runners.seeds import (
    Seeds,
    derive_seed,
    resolve_seeds,
    with_recorded_seeds,
    with_seed_of,
    without_recorded_seeds,
)

seeds = st.integers(0, 2**63 - 1)
purposes = st.sampled_from(["init", "train", "val", "test"])
EXPECTED = [1857125956, 433349134, 696266193]


def listed(resolved: Seeds) -> list[int]:
    return [resolved.init, *resolved.train, *resolved.val, resolved.test]


@given(seeds, st.integers(0, 40))
def test_every_seed_is_in_the_range_that_all_generators_take(seed: int, epochs: int) -> None:
    resolved = resolve_seeds({"seed": seed, "epochs": epochs})
    assert len(resolved.train) == len(resolved.val) == epochs
    assert all(type(one) is int and 0 <= one < 2**31 for one in listed(resolved))


@given(seeds, st.integers(0, 30), st.integers(0, 30))
def test_longer_run_has_the_seeds_of_the_shorter_one(seed: int, epochs: int, more: int) -> None:
    short = resolve_seeds({"seed": seed, "epochs": epochs})
    long = resolve_seeds({"seed": seed, "epochs": epochs + more})
    assert (long.init, long.test) == (short.init, short.test)
    assert long.train[:epochs] == short.train
    assert long.val[:epochs] == short.val


@given(seeds, st.integers(1, 200))
def test_purposes_and_epochs_share_no_seed_but_by_chance(seed: int, epochs: int) -> None:
    # Of 402 numbers below 2**31, two meet by chance in 1 of 27,000 runs, and four about never.
    everything = listed(resolve_seeds({"seed": seed, "epochs": epochs}))
    assert len(everything) - len(set(everything)) <= 1


@given(st.lists(seeds, min_size=2, max_size=20, unique=True), purposes)
def test_neighbouring_runs_share_no_seed_but_by_chance(several: list[int], purpose: str) -> None:
    epochs = range(20)
    found = [derive_seed(seed, purpose, epoch) for seed in [*several, several[0] + 1] for epoch in epochs]
    distinct = 20 * len({*several, several[0] + 1})
    assert distinct - len(set(found)) <= 1


def test_seeds_are_those_of_every_machine_and_version() -> None:
    # Computed outside Python: printf '5/train/0' | sha256sum, its first 8 hex digits halved.
    assert [derive_seed(5, "train", 0), derive_seed(5, "train", 1), derive_seed(5, "init")] == EXPECTED


@given(seeds, st.integers(0, 10), st.dictionaries(st.sampled_from(["work_dir", "score"]), st.text()))
def test_recorded_seeds_give_the_run_again(seed: int, epochs: int, rest: dict[str, Any]) -> None:
    config = {"seed": seed, "epochs": epochs, **rest}
    recorded = with_recorded_seeds(config)
    assert recorded["seed"] == seed
    listed_alone = {key: value for key, value in recorded.items() if key != "seed"}
    assert resolve_seeds(listed_alone) == resolve_seeds(recorded) == resolve_seeds(config)
    assert without_recorded_seeds(recorded) == config
    assert with_seed_of(listed_alone, config) == config
    assert without_recorded_seeds({**recorded, "test_seed": seed + 1}) != config
    assert with_recorded_seeds(recorded) == recorded
    assert all(recorded[key] == value for key, value in rest.items())
