"""What a batch is for the runners, whatever a dataset of torch's kind and its collate function give.

(x, y)                          inputs x, labels y
{'inputs': x, 'labels': y}      inputs x, labels y; meta_info if there is one
{..., 'labels': y}              inputs: all the others by name, labels y
anything else                   inputs, without labels
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pylon.data.collate import collate, shown, stack
from pylon.data.errors import DataError, DatasetContractError
from pylon.data.global_generators import GlobalGenerators
from pylon.data.located import listed, raise_located
from pylon.data.nested import is_namedtuple

_KEYS = ("inputs", "labels", "meta_info")


class Item(NamedTuple):
    """What a dataset of torch's kind gives for an index."""

    idx: int
    value: Any


class BatchCollate:
    """Datapoints to a batch {'inputs', 'labels', 'meta_info'} that holds the index of each.

    Args:
        collate_fn: gets the datapoints as their dataset gives them, and returns a batch of a form above.
        generators: those that an own `collate_fn` finds as a loader worker's does; None: as they are.
    """

    def __init__(self, collate_fn: Callable[..., Any], generators: GlobalGenerators | None = None) -> None:
        self.collate_fn = collate_fn
        self._generators = generators

    def __call__(self, datapoints: Sequence[Any]) -> Any:  # noqa: ANN401 - any batch
        """The batch."""
        if self._generators is None:
            return self._batch(datapoints)
        return self._generators.collated(lambda: self._batch(datapoints))

    def _batch(self, datapoints: Sequence[Any]) -> Any:  # noqa: ANN401 - any batch
        if not isinstance(datapoints[0], Item):
            return self.collate_fn(datapoints)
        idx = [item.idx for item in datapoints]
        values = [item.value for item in datapoints]
        if self.collate_fn is not collate:
            return as_batch(self._own_batch(values, idx), idx, f"collate_fn {_name(self.collate_fn)} gives")
        datapoint = f"datapoint idx={idx[0]} is"
        if all(isinstance(value, Mapping) and "inputs" in value for value in values):
            _check_keys(values[0], datapoint)
            return collate([_datapoint(value, index) for value, index in zip(values, idx, strict=True)])
        # A list of two is x and y; below it, a batch of text is a list too.
        stacked = stack([tuple(one) if type(one) is list else one for one in values], "", idx)
        return as_batch(stacked, idx, datapoint)

    def _own_batch(self, values: list[Any], idx: list[int]) -> Any:  # noqa: ANN401 - any batch
        try:
            return self.collate_fn(values)
        except DataError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - raised again with its place
            raise_located(error, f"collate_fn {_name(self.collate_fn)} of the datapoints {listed(idx)}")


def as_batch(value: Any, idx: list[int], source: str) -> dict[str, Any]:  # noqa: ANN401 - any batch
    """A batch of any of the forms above as {'inputs', 'labels', 'meta_info'}.

    Args:
        value: the batch.
        idx: of its datapoints.
        source: what it comes from, with its verb, for an error.

    Raises:
        DatasetContractError: it is of no such form.
    """
    if value is None:
        raise DatasetContractError(f"{source} None, expected (inputs, labels). Is a `return` missing?")
    labels: Any = None
    meta_info: dict[str, Any] = {}
    if isinstance(value, Mapping):
        if "inputs" in value:
            _check_keys(value, source)
            inputs, labels, meta_info = value["inputs"], value.get("labels"), value.get("meta_info") or {}
        else:
            inputs = {key: element for key, element in value.items() if key != "labels"}
            labels = value.get("labels")
    elif _is_sequence(value):
        if len(value) not in {1, 2}:
            raise DatasetContractError(
                f"{source} {shown(value)}, expected two: (inputs, labels). Each may be nested, as in "
                "((a, b), y). A collate_fn can put them in this order: docs/data.md shows one."
            )
        inputs, labels = value if len(value) == 2 else (value[0], None)
    else:
        inputs = value
    return {"inputs": inputs, "labels": labels, "meta_info": {**meta_info, "idx": idx}}


def _is_sequence(value: object) -> bool:
    if not isinstance(value, list | tuple) or is_namedtuple(value):
        return False
    return not any(isinstance(element, str | bytes) for element in value)


def _datapoint(value: Mapping[str, Any], index: int) -> Any:  # noqa: ANN401 - any nested value
    meta_info = {**(value.get("meta_info") or {}), "idx": index}
    return {"inputs": value["inputs"], "labels": value.get("labels"), "meta_info": meta_info}


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", type(function).__qualname__)


def _check_keys(value: Mapping[str, Any], source: str) -> None:
    strangers = [key for key in value if key not in _KEYS]
    if strangers:
        raise DatasetContractError(
            f"{source} a dict with 'inputs' and {strangers}, expected {', '.join(_KEYS)}. "
            "Put what the model takes into 'inputs', what the criterion takes into 'labels', and the rest "
            "into 'meta_info'."
        )
