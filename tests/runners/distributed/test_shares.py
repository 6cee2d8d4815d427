"""Every batch of an epoch is taken by one rank, and counts once."""

import math

from hypothesis import given
from hypothesis import strategies as st

from pylon.runners.distributed import TrainingShare, evaluation_share

BATCHES, ACCUMULATE, RANKS = st.integers(1, 60), st.integers(1, 5), st.integers(1, 9)


@given(batches=BATCHES, accumulate=ACCUMULATE, ranks=RANKS)
def test_steps_of_all_ranks_together_are_those_of_one_process(
    batches: int, accumulate: int, ranks: int
) -> None:
    shares = [TrainingShare(batches, accumulate, rank, ranks) for rank in range(ranks)]
    alone = TrainingShare(batches, accumulate * ranks, 0, 1)
    assert {share.steps for share in shares} == {alone.steps}
    for step in range(alone.steps):
        counted = [number for share in shares if share.weight(step) for number in share.of_step(step)]
        assert sorted(counted) == list(alone.of_step(step)), "none left out, none counted twice"
        assert math.isclose(sum(len(share.of_step(step)) * share.weight(step) for share in shares), 1)
        assert all(share.of_step(step) for share in shares), "all take part in every step"


@given(batches=BATCHES, accumulate=ACCUMULATE, ranks=RANKS, data=st.data())
def test_rest_of_an_epoch_is_the_end_of_the_whole_one(
    batches: int, accumulate: int, ranks: int, data: st.DataObject
) -> None:
    share = TrainingShare(batches, accumulate, data.draw(st.integers(0, ranks - 1)), ranks)
    first = data.draw(st.integers(0, share.steps))
    whole = share.numbers(0)
    assert whole == sorted(set(whole)), "ascending, as the loader asks for"
    rest = share.numbers(first)
    assert rest == whole[len(whole) - len(rest) :]
    assert len(rest) == sum(len(share.of_step(step)) for step in range(first, share.steps))


@given(batches=st.integers(0, 60), ranks=RANKS)
def test_evaluation_takes_each_batch_once(batches: int, ranks: int) -> None:
    taken = [number for rank in range(ranks) for number in evaluation_share(batches, rank, ranks)]
    assert sorted(taken) == list(range(batches))
    counts = [len(evaluation_share(batches, rank, ranks)) for rank in range(ranks)]
    assert max(counts) - min(counts) <= 1
