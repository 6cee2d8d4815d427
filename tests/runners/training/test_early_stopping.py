import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pylon.runners.errors import RunStopped, TrainingError
from pylon.runners.training.early_stopping import EarlyStopping
from tests.runners.conftest import Toy
from tests.runners.run_directory.test_interrupted import let_it_go_on, numbers
from tests.runners.run_directory.test_retention import run_again

NAN = float("nan")


def stops_after(stopping: EarlyStopping, values: list[float | None], direction: Any = "higher") -> int | None:
    for epoch, value in enumerate(values):
        stopping.judge(epoch, value, direction)
        if stopping.stopped:
            return epoch
    return None


@pytest.mark.parametrize(
    ("options", "values", "direction", "expected"),
    [
        ({"patience": 2}, [1, 2, 2, 3, 3, 3], "higher", 5),
        ({"patience": 2}, [3, 2, 2, 1, 1, 1], "lower", 5),
        ({"patience": 2}, [1, 2, 3, 4], "higher", None),
        ({"patience": 1, "min_delta": 0.5}, [1, 1.6, 2.0], "higher", 2),
        ({"patience": 1, "min_delta": 0.5}, [1, 1.5], "higher", 1),
        ({"patience": 1, "min_delta": 0.5}, [1, 0.6], "lower", 1),
        ({"patience": 2}, [NAN, None, 0.1], "higher", 1),
        ({"patience": 2}, [NAN, 0.1, NAN, 0.2, None, NAN], "lower", 3),
    ],
)
def test_stops_after_so_many_epochs_without_improvement(
    options: dict, values: list, direction: str, expected: int | None
) -> None:
    assert stops_after(EarlyStopping(**options), values, direction) == expected


@given(
    st.integers(1, 4), st.sampled_from([0.0, 0.1]), st.lists(st.none() | st.floats(0, 1), max_size=20),
    st.integers(0, 20), st.sampled_from(["higher", "lower"]),
)  # fmt: skip
def test_saved_and_restored_at_any_epoch_it_decides_the_same(
    patience: int, min_delta: float, values: list, cut: int, direction: Any
) -> None:
    whole = stops_after(EarlyStopping(patience, min_delta), values, direction)
    first, second = EarlyStopping(patience, min_delta), EarlyStopping(patience, min_delta)
    early = stops_after(first, values[:cut], direction)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    late = stops_after(second, values[cut:], direction) if early is None else None
    assert whole == (early if early is not None else None if late is None else late + len(values[:cut]))


@given(
    st.builds(EarlyStopping, st.integers(1, 4), st.sampled_from([0.0, 0.1])),
    st.lists(st.none() | st.just(NAN) | st.sampled_from([0.0, 0.1, 0.2, 0.5, 1.0]), max_size=20),
    st.sets(st.integers(0, 19)),
    st.sampled_from(["higher", "lower"]),
)
def test_interrupted_at_any_epochs_it_stops_after_the_same_one(
    stopping: EarlyStopping, values: list, interruptions: set[int], direction: Any
) -> None:
    """Each launch restores the last saved state, judges an epoch, and may be cut off before that is saved."""
    expected = stops_after(EarlyStopping(stopping.patience, stopping.min_delta), values, direction)
    saved = json.dumps(stopping.state_dict())
    for epoch, value in enumerate(values):
        for lost in (True, False) if epoch in interruptions else (False,):
            launch = EarlyStopping(stopping.patience, stopping.min_delta)
            launch.load_state_dict(json.loads(saved))
            assert not launch.stopped
            launch.judge(epoch, value, direction)
            if not lost:
                saved = json.dumps(launch.state_dict())
        if launch.stopped:
            assert epoch == expected
            return
    assert expected is None


def test_undefined_score_is_an_error_where_configured() -> None:
    with pytest.raises(TrainingError, match="epoch 3: the validation score is undefined"):
        EarlyStopping(2, undefined_score="error").judge(3, NAN, "higher")


@pytest.mark.parametrize(
    "options", [{"patience": 0}, {"patience": 1, "min_delta": -1.0}, {"patience": 1, "min_delta": NAN}]
)
def test_wrong_options_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        EarlyStopping(**options)


def configured(toy: Toy, changes: str = "") -> Any:
    # No score is better by more than 1, so the second epoch without improvement is the third.
    stopping = "{'class': EarlyStopping, 'args': {'patience': 2, 'min_delta': 1.0}}"
    path = toy.write(
        "epochs=9, runner={'class': SupervisedSingleTaskTrainer, 'args': "
        f"{{'score': 'f1_changed', 'early_stopping': {stopping}}}}}, {changes}"
    )
    path.write_text("from pylon.runners import EarlyStopping\n" + path.read_text())
    return path


@pytest.mark.slow
def test_stopped_run_is_finished_and_tested_also_after_an_interruption(
    make_toy: Callable[[str], Toy],
) -> None:
    whole, stopped = make_toy("whole"), make_toy("stopped")
    result = run_again(configured(whole)).result
    assert result["epochs"] == 3
    assert "stopped early" in (whole.work_dir / "train.log").read_text()
    with pytest.raises(RunStopped):
        run_again(
            configured(
                stopped, "criterion={'class': ToyCriterion, 'args': {'at_call': 5, 'what': 'SIGTERM'}}"
            )
        )
    let_it_go_on(stopped)
    assert run_again(configured(stopped)).result == result
    assert numbers(stopped.work_dir) == numbers(whole.work_dir)
