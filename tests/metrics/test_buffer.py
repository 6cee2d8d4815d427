"""One entry per datapoint: no duplicate, no gap, any order, any thread."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.metrics import DatapointBuffer, MetricBufferError


@given(st.permutations(range(20)), st.integers(1, 7))
def test_any_arrival_order_and_batch_size_gives_the_same_ordered_entries(
    order: list[int], batch_size: int
) -> None:
    buffer: DatapointBuffer[str] = DatapointBuffer()
    for start in range(0, 20, batch_size):
        batch = order[start : start + batch_size]
        buffer.add(batch, [f"entry {k}" for k in batch])
    assert list(buffer.get(expected=20).items()) == [(k, f"entry {k}") for k in range(20)]


def test_duplicate_in_one_batch_is_refused_and_named() -> None:
    buffer: DatapointBuffer[str] = DatapointBuffer()
    with pytest.raises(MetricBufferError, match=r"idx: 3, 5 added twice"):
        buffer.add([3, 4, 3, 5, 5], list("abcde"))
    assert len(buffer) == 0


def test_duplicate_of_an_earlier_batch_is_refused_and_the_whole_batch_left_out() -> None:
    buffer: DatapointBuffer[str] = DatapointBuffer()
    buffer.add([0, 1], ["a", "b"])
    with pytest.raises(MetricBufferError, match=r"idx: 1 added twice"):
        buffer.add([1, 2], ["c", "d"])
    assert buffer.get() == {0: "a", 1: "b"}


def test_gap_is_refused_and_the_missing_indices_named() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    buffer.add([0, 1, 4], [0, 0, 0])
    with pytest.raises(MetricBufferError, match=r"idx: 2, 3 missing"):
        buffer.get()


def test_missing_tail_is_found_when_the_number_of_datapoints_is_given() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    buffer.add([0, 1], [0, 0])
    assert buffer.get() == {0: 0, 1: 0}
    with pytest.raises(MetricBufferError, match=r"2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 38 more missing"):
        buffer.get(expected=50)


@given(st.sets(st.integers(0, 60)), st.lists(st.sets(st.integers(0, 60), min_size=1), min_size=1, max_size=4))
def test_what_a_pass_was_told_to_have_must_be_there_and_nothing_else_matters(
    scored: set[int], batches: list[set[int]]
) -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    for batch in batches:
        buffer.expect(batch)
    buffer.add(list(scored), list(scored))
    missing = set().union(*batches) - scored
    if missing:
        with pytest.raises(MetricBufferError, match=f"{min(missing)}.* missing of the .* of the pass"):
            buffer.get()
    else:
        assert buffer.get() == {key: key for key in sorted(scored)}
    buffer.clear()
    buffer.add([0], [0])
    assert buffer.get() == {0: 0}, "the next pass is told anew"


def test_index_beyond_the_dataset_is_refused() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    buffer.add([0, 1, 2], [0, 0, 0])
    with pytest.raises(MetricBufferError, match=r"idx: 2 beyond the 2 expected"):
        buffer.get(expected=2)


def test_negative_index_and_wrong_number_of_entries_are_refused() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    with pytest.raises(ValueError, match="-1 negative"):
        buffer.add([-1], [0])
    with pytest.raises(ValueError, match="2 indices for 1 datapoints"):
        buffer.add([0, 1], [0])


def test_index_that_is_no_integer_is_refused() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    with pytest.raises(TypeError):
        buffer.add([1.5], [0])  # type: ignore[list-item]


def test_what_was_got_does_not_change_with_later_additions() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    buffer.add([0], [0])
    entries = buffer.get()
    buffer.add([1], [0])
    assert list(entries) == [0]


def test_many_threads_fill_it_without_loss_and_a_duplicate_is_refused_exactly_once() -> None:
    buffer: DatapointBuffer[int] = DatapointBuffer()
    threads_count, each = 8, 200
    barrier = threading.Barrier(threads_count)
    refused: list[int] = []

    def fill(thread: int) -> None:
        barrier.wait()
        for step in range(each):
            buffer.add([step * threads_count + thread], [thread])
            # Two threads contend for each of these indices: one must lose.
            contended = threads_count * each + (thread // 2) * each + step
            try:
                buffer.add([contended], [thread])
            except MetricBufferError:
                refused.append(contended)

    threads = [threading.Thread(target=fill, args=(k,)) for k in range(threads_count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    contended_count = threads_count // 2 * each
    entries = buffer.get(expected=threads_count * each + contended_count)
    assert all(entries[key] == key % threads_count for key in range(threads_count * each))
    assert sorted(refused) == list(range(threads_count * each, threads_count * each + contended_count))
