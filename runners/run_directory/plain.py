"""What a checkpoint may hold: values that torch reads back without executing anything (`weights_only`).

state_dict() ── plain ──> NumPy numbers are Python's ── check_readable ──> written and read once, without
                                                                           the tensors, or refused by name
"""

import copy
import io
import math
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from pylon.runners.errors import TrainingError

# They compute as Python's own numbers do. A float32 does not: a resumed run would round in another way.
_SAME_NUMBERS = (np.float64, np.int64, np.bool_, np.str_)
_PYTHONS_OWN = frozenset({float, int, bool, str, type(None)})
_EXPECTED = "numbers, text, tensors, and lists, tuples and dicts of them"


def plain(value: Any, kinds: tuple[type[np.generic], ...] = _SAME_NUMBERS) -> Any:  # noqa: ANN401 - any state
    """`value` with the NumPy scalars in it as Python values; the very same object if there is none.

    Args:
        value: a state, or what is recorded of a run.
        kinds: the NumPy types that become Python values.
    """
    if isinstance(value, kinds):
        return value.item()
    if isinstance(value, dict):
        items = [(plain(key, kinds), plain(element, kinds)) for key, element in value.items()]
        same = all(
            key is old and element is value[old] for (key, element), old in zip(items, value, strict=True)
        )
        return value if same else _like(value, items)
    if type(value) in {list, tuple}:
        if _PYTHONS_OWN.issuperset(map(type, value)):
            return value  # such as the scores of each of many datapoints
        elements = [plain(element, kinds) for element in value]
        same = all(new is old for new, old in zip(elements, value, strict=True))
        return value if same else type(value)(elements)
    return value


def recorded(value: Any) -> Any:  # noqa: ANN401 - scores, as JSON
    """Scores as Python values, whatever NumPy type a metric gave: nothing is computed from them again.

    What is NaN or infinite becomes None, undefined: JSON has no such numbers.
    """
    return _defined(plain(value, (np.generic,)))


def _defined(value: Any) -> Any:  # noqa: ANN401 - scores
    """`value` with None for what is NaN or infinite; the very same object if there is nothing of that."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        changed = {key: one for key, old in value.items() if (one := _defined(old)) is not old}
        return _like(value, [*(value | changed).items()]) if changed else value
    if type(value) in {list, tuple}:
        elements = [_defined(one) for one in value]
        same = all(new is old for new, old in zip(elements, value, strict=True))
        return value if same else type(value)(elements)
    return value


def plain_state(name: str, part: object, state: Any) -> Any:  # noqa: ANN401 - any state_dict
    """The state of a part as a checkpoint holds it.

    Args:
        name: of the part in the checkpoint, such as 'scheduler'.
        part: whose state it is, for the error.
        state: what its `state_dict` gave.

    Raises:
        TrainingError: it holds something that could be written and never read back; with its key path.
    """
    owner = f"{name} ({type(part).__name__})"
    try:
        state = plain(state)
        skeleton = _without_tensors(state)
        error = _reading_error(skeleton)
    except RecursionError as deep:
        raise TrainingError(
            f"{owner}: its state_dict() refers to itself or is nested too deeply for a checkpoint. Give "
            f"{_EXPECTED} there."
        ) from deep
    if error is None:
        return state
    key_path, culprit = _smallest_unreadable(skeleton, name)
    kind = type(culprit)
    raise TrainingError(
        f"{owner}: its state holds {key_path} of type {kind.__module__}.{kind.__qualname__}, and a "
        f"checkpoint with it could not be read back. Expected {_EXPECTED}: convert it with float(), int(), "
        ".tolist() or torch.as_tensor() in the class, or leave it out of its state_dict()."
    ) from error


def _like(value: dict[Any, Any], items: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """A dict of the same type and with the same attributes, such as a Counter or a module's versions."""
    result = copy.copy(value)
    result.clear()
    for key, element in items:
        result[key] = element
    vars_of = getattr(value, "__dict__", None)
    if vars_of:
        result.__dict__.update(vars_of)
    return result


def _without_tensors(value: Any) -> Any:  # noqa: ANN401 - any state
    """The same structure without the plain tensors, which are always readable and may be large."""
    if type(value) in {torch.Tensor, torch.nn.Parameter} and not vars(value):
        return None
    if type(value) in {dict, OrderedDict}:
        return _like(value, [(key, _without_tensors(element)) for key, element in value.items()])
    if type(value) in {list, tuple}:
        return type(value)(_without_tensors(element) for element in value)
    return value


def _reading_error(value: Any) -> Exception | None:  # noqa: ANN401 - any state
    """Why `value` cannot be written and read back, None if it can."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        buffer.seek(0)
        torch.load(buffer, map_location="cpu", weights_only=True)
    except RecursionError:
        raise
    except Exception as error:  # noqa: BLE001 - a class decides itself how it is pickled
        # Its frames hold views of the buffer: Python 3.13 prints a BufferError when the cycle is collected.
        return error.with_traceback(None)
    return None


def _smallest_unreadable(value: Any, key_path: str) -> tuple[str, Any]:  # noqa: ANN401 - any state
    """The innermost element that cannot be read back, and its key path."""
    for key, element in _elements(value):
        if _reading_error(element) is not None:
            return _smallest_unreadable(element, f"{key_path}.{key}")
    return key_path, value


def _elements(value: object) -> Iterator[tuple[object, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list | tuple):
        yield from enumerate(value)
