"""Parameter groups of an optimizer: which parameters of a model have values of their own.

    [{"kind": "norms_and_biases", "weight_decay": 0.0}, {"pattern": "encoder.*", "lr": 1e-4}]

A parameter has the values of all entries that mean it; of two values the later entry's counts. Parameters
with the same values are one group, and those that no entry means are the first.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from pylon.runners.config.signatures import parameters_of, shown
from pylon.runners.errors import ConfigError, ConfigProblem
from pylon.runners.keys import unknown_name

KEY = "runner.args.parameter_groups"
Entry = Mapping[str, Any]

_KIND = "norms_and_biases"
_SELECTORS = ("pattern", "kind")
_NAMED = 5
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def named_argument(optimizer: type) -> str:
    """The argument in which an optimizer's class takes the parameters.

    'named_parameters' for a class that has this one and no `params`: it gets (name, parameter) pairs.
    """
    try:
        named, _ = parameters_of(optimizer, forwards=False)
    except ValueError:
        return "params"
    return "named_parameters" if "named_parameters" in named and "params" not in named else "params"


def form_problems(entries: Sequence[Entry], optimizer: type) -> Iterator[ConfigProblem]:
    """What is wrong with the entries, as far as it can be seen without a model."""
    if entries and named_argument(optimizer) == "named_parameters":
        expected = f"expected none: {optimizer.__name__} gets named parameters and groups them itself"
        yield ConfigProblem(KEY, shown(entries), expected)
    for number, entry in enumerate(entries):
        given = [key for key in _SELECTORS if key in entry]
        if len(given) != 1:
            expected = f"expected either 'pattern', as in '*.bias', or 'kind', {_KIND!r}"
            yield ConfigProblem(f"{KEY}.{number}", shown(dict(entry)), expected)
        elif "kind" in entry and entry["kind"] != _KIND:
            yield ConfigProblem(f"{KEY}.{number}.kind", shown(entry["kind"]), f"expected {_KIND!r}")
        elif "pattern" in entry and not _patterns(entry["pattern"]):
            expected = "expected a pattern of parameter names, as '*.bias', or a list of them"
            yield ConfigProblem(f"{KEY}.{number}.pattern", shown(entry["pattern"]), expected)
        elif not options_of(entry):
            expected = "expected a value of the optimizer too, as 'weight_decay': 0.0"
            yield ConfigProblem(f"{KEY}.{number}", shown(dict(entry)), expected)


def options_of(entry: Entry) -> dict[str, Any]:
    """The optimizer's values of an entry."""
    return {key: value for key, value in entry.items() if key not in _SELECTORS}


def option_problems(entries: Sequence[Entry], optimizer: torch.optim.Optimizer) -> Iterator[ConfigProblem]:
    """The values that no group of the optimizer has: torch keeps an unknown one, and never uses it."""
    known = sorted(optimizer.defaults)
    for number, entry in enumerate(entries):
        for name in options_of(entry):
            if name not in known:
                expected = unknown_name(f"a parameter group of {type(optimizer).__name__}", name, known)
                yield ConfigProblem(f"{KEY}.{number}.{name}", shown(entry[name]), expected)


def grouped(model: nn.Module, entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The parameters of a model as groups of an optimizer, in the order of the entries.

    Raises:
        ConfigError: an entry means no parameter.
    """
    named = _named(model)
    meant = [[_is_meant(one, entry) for one in named] for entry in entries]
    problems = [
        ConfigProblem(f"{KEY}.{number}.{key}", shown(entry[key]), _expected(named, model))
        for number, entry in enumerate(entries)
        for key in _SELECTORS
        if key in entry and not any(meant[number])
    ]
    if problems:
        raise ConfigError("configuration", problems)
    members: dict[tuple[int, ...], list[nn.Parameter]] = {}
    for position, one in enumerate(named):
        indices = tuple(number for number in range(len(entries)) if meant[number][position])
        members.setdefault(indices, []).append(one.parameter)
    return [{"params": members[indices], **_values(entries, indices)} for indices in sorted(members)]


def description(groups: Sequence[dict[str, Any]]) -> str:
    """The groups in one line, for the log."""
    parts = []
    for group in groups:
        values = ", ".join(f"{key} {value!r}" for key, value in group.items() if key != "params")
        parts.append(f"{len(group['params'])} with {values or 'the values of the optimizer'}")
    return "; ".join(parts)


@dataclass(frozen=True)
class _Named:
    """A parameter of a model.

    Attributes:
        parameter: itself.
        names: all that lead to it; several if modules share it.
        of_norm: whether it belongs to one of torch's normalisation layers.
    """

    parameter: nn.Parameter
    names: list[str]
    of_norm: bool


def _named(model: nn.Module) -> list[_Named]:
    found: dict[nn.Parameter, _Named] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module.named_parameters(recurse=False):
            one = found.setdefault(parameter, _Named(parameter, [], isinstance(module, _NORMS)))
            one.names.append(f"{path}.{name}" if path else name)
    return [*found.values()]


def _is_meant(one: _Named, entry: Entry) -> bool:
    if "kind" in entry:
        return one.of_norm or one.parameter.ndim <= 1
    return any(fnmatchcase(name, pattern) for name in one.names for pattern in _patterns(entry["pattern"]))


def _patterns(value: object) -> list[str]:
    """The patterns of an entry; none if there is something else."""
    patterns = [value] if isinstance(value, str) else value
    sound = isinstance(patterns, list | tuple) and all(isinstance(one, str) and one for one in patterns)
    return list(patterns) if sound else []  # type: ignore[call-overload]  # mypy loses the `sound`


def _values(entries: Sequence[Entry], indices: Sequence[int]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for index in indices:
        values |= options_of(entries[index])
    return values


def _expected(named: Sequence[_Named], model: nn.Module) -> str:
    names = [one.names[0] for one in named]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"means no parameter of {type(model).__name__}; expected one of: {', '.join(names[:_NAMED])}{more}. "
        "A * stands for any text, dots included"
    )
