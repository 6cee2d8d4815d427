"""Arguments of one class against its constructor: names, missing ones, types."""

import collections.abc
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, TypeAlias

from typeguard import CollectionCheckStrategy, TypeCheckError, check_type

from pylon.masking import masked
from pylon.runners.config.former import former_argument
from pylon.runners.config.node import children, is_node
from pylon.runners.errors import ConfigProblem
from pylon.runners.keys import unknown_name

# As in `**others: HandedOn`: what a constructor takes so is handed on to the inherited one as it is, none
# of it left out or given by the class itself.
HandedOn: TypeAlias = Annotated[Any, "handed on"]

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def argument_problems(
    cls: Any,  # noqa: ANN401 - a class or a function
    arguments: dict[str, Any],
    injected: frozenset[str],
    key_path: str,
    *,
    forwards: bool = False,
) -> Iterator[ConfigProblem]:
    """What is wrong with `arguments` for `cls`.

    Args:
        cls: the configured class or function.
        arguments: by name; values may hold nodes that are still to be built.
        injected: arguments that the runner gives, so that the configuration must not.
        key_path: of the arguments, for the problems.
        forwards: the class hands what it takes as `**others` on to the constructor that it inherits.
    """
    try:
        named, takes_any = parameters_of(cls, forwards=forwards)
    except ValueError:
        return  # some classes written in C have no signature; building them shows what they refuse
    accepted = [name for name in named if name not in injected]
    for name, value in arguments.items():
        if name in injected:
            yield ConfigProblem(f"{key_path}.{name}", shown(value), "is given by the runner: remove it")
        elif name not in named and not takes_any:
            yield ConfigProblem(
                f"{key_path}.{name}",
                shown(value),
                former_argument(cls, name, value) or unknown_name(cls.__name__, name, accepted),
            )
    for name in sorted(injected - named.keys()) if not takes_any else ():
        expected = f"is given by the runner, but {cls.__name__} does not take it: add it to its constructor"
        yield ConfigProblem(f"{key_path}.{name}", None, expected)
    for name in accepted:
        if named[name].default is inspect.Parameter.empty and name not in arguments:
            yield ConfigProblem(f"{key_path}.{name}", None, f"is missing; {cls.__name__} needs it")
    annotations = _annotations(cls, forwards=forwards)
    for name in accepted:
        if name not in arguments or name not in annotations:
            continue
        mismatch = type_problem(arguments[name], annotations[name])
        if mismatch is not None:
            yield ConfigProblem(f"{key_path}.{name}", shown(arguments[name]), mismatch)


def type_problem(value: Any, annotation: Any) -> str | None:  # noqa: ANN401 - any value against any annotation
    """What was expected in place of `value`, None if it fits `annotation`.

    A list fits if a tuple of its elements does, as JSON has no tuples; a bool is not a number.
    """
    if is_node(value):
        return _node_problem(value, annotation)
    if _holds_node(value):
        return None
    if isinstance(value, bool) and not _accepts_bool(annotation):
        return f"expected {_name(annotation)}"
    for candidate in (value, _with_tuples(value)):
        try:
            check_type(candidate, annotation, collection_check_strategy=CollectionCheckStrategy.ALL_ITEMS)
        except TypeCheckError:
            continue
        return None
    return f"expected {_name(annotation)}"


def shown(value: object) -> str:
    """A value as a problem shows it, shortened."""
    if is_node(value):
        cls = value["class"]
        return f"a {getattr(cls, '__name__', cls)}"
    text = repr(masked(value))
    return text if len(text) <= 80 else text[:77] + "..."


def parameters_of(cls: Any, *, forwards: bool) -> tuple[dict[str, inspect.Parameter], bool]:  # noqa: ANN401
    """The parameters of a class by name, and whether any other name is taken too.

    Args:
        cls: the class.
        forwards: it hands what it takes as `**others` on to the constructor that it inherits.

    Raises:
        ValueError: the class has no signature.
    """
    named: dict[str, inspect.Parameter] = {}
    takes_any, as_it_is = True, True
    for owner in _constructors(cls) if forwards else [cls]:
        parameters = inspect.signature(owner).parameters
        for name, parameter in parameters.items():
            if parameter.kind in _NAMED and name not in named:
                # The class may give an inherited one itself, unless it hands all on: then none is missing.
                named[name] = parameter if as_it_is else parameter.replace(default=None)
        others = [one for one in parameters.values() if one.kind is inspect.Parameter.VAR_KEYWORD]
        takes_any = bool(others)
        if not takes_any:
            break
        as_it_is = as_it_is and others[0].annotation == HandedOn
    return named, takes_any


def defaults_of(cls: type) -> dict[str, Any]:
    """The known defaults of a class's arguments, also of those that it hands on."""
    found: dict[str, Any] = {}
    for owner in _constructors(cls):
        parameters = inspect.signature(owner).parameters.values()
        for one in parameters:
            if one.kind in _NAMED and one.default is not inspect.Parameter.empty:
                found.setdefault(one.name, one.default)
        if not any(one.kind is one.VAR_KEYWORD and one.annotation == HandedOn for one in parameters):
            break
    return found


def _constructors(cls: Any) -> list[Any]:  # noqa: ANN401 - a class or a function
    """The classes whose constructors call one another, from `cls` up; a function alone."""
    if not isinstance(cls, type):
        return [cls]
    return [owner for owner in cls.__mro__ if owner is not object and "__init__" in vars(owner)] or [cls]


def _annotations(cls: Any, *, forwards: bool) -> dict[str, Any]:  # noqa: ANN401 - a class or a function
    found: dict[str, Any] = {}
    for owner in _constructors(cls) if forwards else [cls]:
        try:
            hinted = owner.__init__ if isinstance(owner, type) else owner  # type: ignore[misc]  # its own is meant
            found = {**typing.get_type_hints(hinted), **found}
        except (NameError, TypeError, AttributeError):
            # Annotations under TYPE_CHECKING cannot be resolved at run time: then only names are checked.
            return found
    return found


def _node_problem(node: dict[str, Any], annotation: Any) -> str | None:  # noqa: ANN401 - any annotation
    cls = node["class"]
    if not isinstance(cls, type):
        return None
    wanted = [typing.get_origin(part) or part for part in _union_parts(annotation)]
    protocols = [part for part in wanted if getattr(part, "_is_protocol", False)]
    if protocols or not all(isinstance(part, type) for part in wanted):
        return None
    if any(part in {object, Any, collections.abc.Callable} or issubclass(cls, part) for part in wanted):
        return None
    return f"expected {_name(annotation)}"


def _union_parts(annotation: Any) -> list[Any]:  # noqa: ANN401 - any annotation
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return [part for member in typing.get_args(annotation) for part in _union_parts(member)]
    return [annotation]


def _accepts_bool(annotation: Any) -> bool:  # noqa: ANN401 - any annotation
    return any(
        part in {bool, Any, object}
        or isinstance(part, typing.TypeVar)
        or typing.get_origin(part) is typing.Literal
        for part in _union_parts(annotation)
    )


def _holds_node(value: object) -> bool:
    return any(is_node(element) or _holds_node(element) for _, element in children(value))


def _with_tuples(value: Any) -> Any:  # noqa: ANN401 - any configuration value
    return tuple(_with_tuples(element) for element in value) if isinstance(value, list) else value


def _name(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
