"""Data becomes objects: {'class': X, 'args': {...}} becomes X(**args), innermost first."""

from typing import Any

from runners.config.node import children, is_node
from runners.errors import ConfigError, PylonError


class BuildError(ConfigError):
    """A configured class refused its arguments; the cause says why."""


def build(node: Any, key_path: str = "config", **injected: object) -> Any:  # noqa: ANN401 - any configured class
    """Build a checked node and everything inside its arguments; the node itself is not changed.

    Args:
        node: {'class': X, 'args': {...}}, or a list, dict or plain value that may hold such.
        key_path: where the node stands, for errors.
        **injected: arguments for the outermost class that no configuration can give, such as `dataset`.

    Raises:
        BuildError: a constructor refused its arguments with a ValueError or TypeError.
    """
    if not is_node(node):
        return _built_elements(node, key_path)
    arguments = _built_elements(node["args"], f"{key_path}.args")
    try:
        return node["class"](**arguments, **injected)
    except PylonError:
        raise
    except (TypeError, ValueError) as error:
        name = node["class"].__name__
        raise BuildError.single(
            key_path, name, f"arguments that {name} accepts: {error}", "configuration"
        ) from error


def _built_elements(value: Any, key_path: str) -> Any:  # noqa: ANN401 - any configuration value
    if not isinstance(value, dict | list | tuple):
        return value
    elements = {key: build(element, f"{key_path}.{key}") for key, element in children(value)}
    return elements if isinstance(value, dict) else type(value)(elements.values())
