"""Data becomes objects: {'class': X, 'args': {...}} becomes X(**args), innermost first.

The optimizer that a schedule is given also reaches the schedules inside it, as in SequentialLR.
"""

import re
from typing import Any

from pylon.masking import masked_text, secret_values
from pylon.runners.config.node import Node, children, is_node
from pylon.runners.config.schedules import is_schedule
from pylon.runners.errors import ConfigError, ConfigProblem, PylonError

# As in 'clip_norm: 0, expected more than 0, or None'; the name may lead into the argument, by dots.
_REFUSED = re.compile(
    r"(?P<name>\w+)(?P<inside>(?:\.\w+)*): (?P<value>.+?), (?P<expected>expected .+)", re.DOTALL
)


class BuildError(ConfigError):
    """A configured class refused its arguments; the cause gives the reason."""


def build(node: Any, key_path: str = "config", **injected: object) -> Any:  # noqa: ANN401 - any configured class
    """Build a checked node and everything inside its arguments; the node itself is not changed.

    Args:
        node: {'class': X, 'args': {...}}, or a list, dict or plain value that may hold such.
        key_path: the place of the node, for errors.
        **injected: arguments for the outermost class that no configuration can give, such as `dataset`.

    Raises:
        BuildError: a constructor refused its arguments with a ValueError or TypeError. A ValueError of the
            form `name: value, expected ...` is a problem of the argument of that name.
    """
    if not is_node(node):
        return _built_elements(node, key_path, {})
    optimizer = {"optimizer": injected["optimizer"]} if "optimizer" in injected else {}
    arguments = {
        name: _built_elements(value, f"{key_path}.args.{name}", optimizer)
        for name, value in node["args"].items()
    }
    try:
        return node["class"](**arguments, **injected)
    except PylonError:
        raise
    except (TypeError, ValueError) as error:
        raise BuildError("configuration", [refusal(node, key_path, error)]) from error
    except Exception as error:
        error.add_note(f"while {key_path} ({node['class'].__name__}) was built")
        raise


def refusal(node: Node, key_path: str, error: TypeError | ValueError) -> ConfigProblem:
    """The problem that `error` reports of a node: of one argument if it names one, else of all of them."""
    named = _REFUSED.fullmatch(str(error)) if isinstance(error, ValueError) else None
    if named is not None and named["name"] in node["args"]:
        argument = f"{key_path}.args.{named['name']}{named['inside']}"
        return ConfigProblem(argument, named["value"], named["expected"])
    name = node["class"].__name__
    text = masked_text(str(error), secret_values(node["args"]))
    return ConfigProblem(key_path, repr(name), f"expected arguments that {name} accepts: {text}")


def _built_elements(value: Any, key_path: str, optimizer: dict[str, object]) -> Any:  # noqa: ANN401 - any value
    if is_node(value):
        return build(value, key_path, **(optimizer if is_schedule(value) else {}))
    if not isinstance(value, dict | list | tuple):
        return value
    elements = {
        key: _built_elements(element, f"{key_path}.{key}", optimizer) for key, element in children(value)
    }
    return elements if isinstance(value, dict) else type(value)(elements.values())
