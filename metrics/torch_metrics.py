"""Metrics of the package torchmetrics as the metric of a run. Only its public interface is used.

update ──> states of the whole pass ── compute ──> aggregated scores
       └─> each datapoint by itself ── compute ──> scores per datapoint
"""

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pylon.metrics.base_metric import BaseMetric, Part, Scores, Summary
from pylon.metrics.directions import Direction

_PACKAGE = "torchmetrics"
# What they give depends on earlier passes, or on how a pass is cut into batches: no resume and no other
# number of ranks would give the same.
_NOT_OF_A_PASS = {
    "MetricTracker": "history.jsonl has the scores of each epoch",
    "MinMaxMetric": "history.jsonl has the scores of each epoch",
    "Running": "a pass is scored as a whole",
}


class TorchMetrics(BaseMetric):
    """One metric of torchmetrics, named as its class, or those of a MetricCollection by their names there.

    Each is called as `update(outputs, labels)`. A result of several values gives `NAME_0`, `NAME_1`, ..., a
    dict `NAME_KEY`. A datapoint's score is None if the metric is not defined for one datapoint.

    Args:
        metric: the metric or collection.
        directions: 'higher' or 'lower' for each score that a run may be judged by; None: what the metrics
            themselves declare (`higher_is_better`).
        per_datapoint: score each datapoint by itself too, which takes an update of the metric each.

    Raises:
        ValueError: it is none of torchmetrics, or keeps more than one pass.
    """

    def __init__(
        self,
        metric: Any,  # noqa: ANN401 - the package is optional
        *,
        directions: Mapping[str, Direction] | None = None,
        per_datapoint: bool = True,
    ) -> None:
        super().__init__()
        self.name = type(metric).__name__
        if not is_of_torchmetrics(type(metric)):
            raise ValueError(f"metric: {type(metric).__name__}, expected one of torchmetrics")
        # A MetricCollection is one, and a MultitaskWrapper, which has items too, is a single metric.
        collected = isinstance(metric, torch.nn.ModuleDict)
        self._metrics: dict[str, Any] = dict(metric.items()) if collected else {type(metric).__name__: metric}
        for one in self._metrics.values():
            _refuse_more_than_a_pass(one)
            _let_alone(one)
        self._single = {name: one.clone() for name, one in self._metrics.items()} if per_datapoint else {}
        self._directions = dict(directions) if directions is not None else dict(_declared(self._metrics))

    @property
    def directions(self) -> Mapping[str, Direction]:
        """See BaseMetric."""
        return self._directions

    def update(self, outputs: Any, target: Any, idx: Sequence[int]) -> None:  # noqa: ANN401 - any nested value
        """See BaseMetric."""
        with torch.no_grad():
            self._buffer.add(idx, list(self._statistics(outputs, target, idx).cpu()))
            for metric in self._metrics.values():
                _on_device_of(metric, outputs).update(outputs, target)

    def part(self) -> Part:
        """See BaseMetric."""
        states = {
            name: {
                place: {key: _on_cpu(value) for key, value in one.metric_state.items()}
                for place, one in _with_states(metric).items()
            }
            for name, metric in self._metrics.items()
        }
        return dataclasses.replace(super().part(), states=states if len(self._buffer) else None)

    def merge(self, parts: Sequence[Part]) -> None:
        """See BaseMetric. The next `compute` of each metric reduces the states of all parts."""
        super().merge([Part(part.expected, part.idx, part.statistics) for part in parts])
        given = [part.states for part in parts if part.states is not None]
        for name, metric in self._metrics.items():
            metric.reset()
            inside = _with_states(metric)
            for one in inside.values():
                one.reset()  # all before the first takes something in: one may reset others
            for place, one in inside.items():
                _take_in(one, [states[name][place] for states in given])

    def reset(self) -> None:
        """See BaseMetric."""
        super().reset()
        for metric in self._metrics.values():
            metric.reset()
            _let_alone(metric)

    def summarize(
        self, buffer: Mapping[int, torch.Tensor] | None = None, output_path: Path | None = None
    ) -> Summary:
        """See BaseMetric.

        Raises:
            ValueError: `buffer` is given: the aggregated scores do not follow from datapoints' scores.
        """
        if buffer is not None:
            raise ValueError("buffer: given, expected None: metrics of torchmetrics keep states of the pass.")
        return super().summarize(None, output_path)

    def _statistics(self, outputs: Any, target: Any, idx: Sequence[int]) -> torch.Tensor:  # noqa: ANN401
        """Each datapoint's own scores, NaN if undefined."""
        scores = torch.full((len(idx), len(self._metrics)), math.nan, dtype=torch.float64)
        if not (isinstance(outputs, torch.Tensor) and isinstance(target, torch.Tensor)):
            return scores
        if not len(outputs) == len(target) == len(idx):
            return scores
        for column, name in enumerate(self._metrics):
            if name not in self._single:
                continue
            for row in range(len(idx)):
                try:
                    one = slice(row, row + 1)
                    scores[row, column] = _score_of_one(self._single[name], outputs[one], target[one])
                except (ValueError, RuntimeError, TypeError, IndexError):
                    del self._single[name]  # one that needs several datapoints, or gives several values
                    scores[:, column] = math.nan
                    break
        return scores

    def _scores(self, statistics: torch.Tensor) -> dict[str, torch.Tensor]:
        return {name: statistics[:, column] for column, name in enumerate(self._metrics)}

    def _aggregated(self, statistics: torch.Tensor) -> Scores:
        del statistics
        found: Scores = {}
        with torch.no_grad(), warnings.catch_warnings():
            # A rank whose share of the pass was empty has the others' states, and none of its own.
            warnings.filterwarnings("ignore", message=".*``compute`` method of metric.*before the ``update``")
            for name, metric in self._metrics.items():
                found.update(_named(name, metric.compute()))
        missing = [name for name in self._directions if name not in found]
        if missing:
            raise ValueError(
                f"metric: {', '.join(missing)} gives {sorted(found)}, expected one value. Use an average "
                "(average='macro'), or TorchMetrics with directions={...} of the scores that judge."
            )
        return found


def as_metric(given: Any) -> Any:  # noqa: ANN401 - whatever a configuration's metric is
    """The metric of a run: one of torchmetrics as TorchMetrics, any other as it is."""
    return TorchMetrics(given) if is_of_torchmetrics(type(given)) else given


def is_of_torchmetrics(cls: type) -> bool:
    """Whether a class is one of torchmetrics, or inherits from one."""
    return any(base.__module__.partition(".")[0] == _PACKAGE for base in cls.__mro__)


def _with_states(metric: Any) -> dict[str, Any]:  # noqa: ANN401
    """The metric and those inside it that have states, by their place in it."""
    found: dict[str, Any] = {}
    # From the inside: a ClasswiseWrapper shows the states of the metric inside it as its own.
    for place, one in reversed(list(metric.named_modules())):
        if not _is_metric(one) or not one._defaults:
            continue
        if not any(one._defaults is other._defaults for other in found.values()):
            found[place] = one
    return found


def _let_alone(metric: Any) -> None:  # noqa: ANN401
    """Keep torchmetrics from exchanging states: the run's ranks do so themselves (`part`, `merge`)."""
    for one in filter(_is_metric, metric.modules()):
        one.distributed_available_fn = lambda: False


def _refuse_more_than_a_pass(metric: Any) -> None:  # noqa: ANN401
    for one in metric.modules():
        for base in type(one).__mro__:
            if base.__name__ in _NOT_OF_A_PASS and is_of_torchmetrics(base):
                raise ValueError(
                    f"metric: {type(one).__name__}, expected the metric inside it: it keeps values of "
                    f"several passes or of some batches, and {_NOT_OF_A_PASS[base.__name__]}"
                )


def _is_metric(module: Any) -> bool:  # noqa: ANN401
    return is_of_torchmetrics(type(module)) and hasattr(module, "_defaults")


def _declared(metrics: Mapping[str, Any]) -> Iterator[tuple[str, Direction]]:
    for name, metric in metrics.items():
        if metric.higher_is_better is not None:
            yield name, "higher" if metric.higher_is_better else "lower"


def _score_of_one(metric: Any, outputs: torch.Tensor, target: torch.Tensor) -> float:  # noqa: ANN401
    """The score of one datapoint; NaN if the metric warns that it is none. Raises what the metric raises."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        metric.reset()
        _on_device_of(metric, outputs).update(outputs, target)
        value = float(metric.compute())
    return math.nan if caught else value


def _on_device_of(metric: Any, outputs: Any) -> Any:  # noqa: ANN401 - any metric and nested value
    if isinstance(outputs, torch.Tensor) and metric.device != outputs.device:
        return metric.to(outputs.device)
    return metric


def _on_cpu(state: Any) -> Any:  # noqa: ANN401 - a tensor or a list of them
    return [one.cpu() for one in state] if isinstance(state, list) else state.cpu()


def _take_in(metric: Any, states: Sequence[Mapping[str, Any]]) -> None:  # noqa: ANN401
    """Let the metric reduce these states, of several processes, when it computes."""
    gathered: dict[int, list[torch.Tensor]] = {}
    for key in states[0]:
        values = [state[key] for state in states]
        if isinstance(values[0], list):
            own: Any = [one.to(metric.device) for value in values for one in value]
        else:
            on_device = [value.to(metric.device) for value in values]
            own = on_device[0]
            gathered[id(own)] = on_device
        setattr(metric, key, own)

    def gather(tensor: torch.Tensor, group: object = None) -> list[torch.Tensor]:
        del group
        return gathered.get(id(tensor), [tensor])

    metric.dist_sync_fn = gather
    metric.distributed_available_fn = lambda: True


def _named(name: str, value: Any) -> Iterator[tuple[str, float | None]]:  # noqa: ANN401 - whatever a metric gives
    if isinstance(value, Mapping):
        for key, element in value.items():
            yield from _named(f"{name}_{key}", element)
    elif isinstance(value, torch.Tensor) and value.ndim == 0:
        number = float(value)
        yield name, number if math.isfinite(number) else None
    elif isinstance(value, torch.Tensor | list | tuple):
        for number, element in enumerate(value):
            yield from _named(f"{name}_{number}", element)
    else:
        yield name, float(value)
