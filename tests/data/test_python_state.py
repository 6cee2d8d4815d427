"""Whether Python's global generator has changed, seen where CPython holds its state."""

import copy
import pickle
import platform
import random
from collections.abc import Callable

import pytest

from pylon.data import python_state
from pylon.data.python_state import PythonState

DRAWS: list[Callable[[], object]] = [
    random.random,
    lambda: random.getrandbits(1),
    lambda: random.randint(0, 1),
    lambda: random.shuffle([1, 2]),
    lambda: random.choice("ab"),
    lambda: random.gauss(0.0, 1.0),
    lambda: random.gauss(0.0, 1.0),  # gives out the number that waits, without a draw
    lambda: random.normalvariate(0.0, 1.0),
    lambda: random.seed(random.random()),
    lambda: [random.random() for _ in range(1000)],
]


@pytest.mark.parametrize("is_found", [True, False])
def test_every_draw_is_seen_and_put_back(monkeypatch: pytest.MonkeyPatch, *, is_found: bool) -> None:
    if not is_found:
        monkeypatch.setattr(python_state, "_is_where_expected", lambda: False)
    state = PythonState()
    random.seed(3)
    for draw in DRAWS:
        for _ in range(2):
            before, expected = state.get(), random.getstate()
            assert state.is_still(before)
            draw()
            after = random.getstate()
            assert not state.is_still(before)
            state.put_back(before)
            assert random.getstate() == expected
            assert state.is_still(before)
            random.setstate(after)


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="the place is CPython's")
def test_state_is_found_in_this_interpreter() -> None:
    assert PythonState().can_be_looked_at


def test_state_elsewhere_in_memory_is_not_taken_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    found = python_state._memory_of
    another = random.Random(1)
    monkeypatch.setattr(python_state, "_memory_of", lambda _: found(another))
    assert not PythonState().can_be_looked_at


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda state: pickle.loads(pickle.dumps(state))])
def test_copy_looks_at_the_generator_of_its_own_process(copied: Callable[[PythonState], PythonState]) -> None:
    state = copied(PythonState())
    before = state.get()
    random.random()
    assert not state.is_still(before)
