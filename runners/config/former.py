"""Arguments that an earlier version had: the error for a configuration, the translation of a recorded one.

A class lists them as `FORMER_ARGUMENTS`: {name: (argument now, its class, that class's argument)}.
"""

from typing import Any

from pylon.runners.config.node import children, is_node


def former_argument(cls: type, name: str, value: object) -> str | None:
    """What to write in place of an argument that an earlier version of `cls` took; None if none did."""
    former = _former_of(cls).get(name)
    if former is None:
        return None
    argument, group, inside = former
    package = ".".join(group.__module__.split(".")[:2])
    return (
        f"was replaced by {argument}: give {argument!r}: {{'class': {group.__name__}, "
        f"'args': {{{inside!r}: {value!r}}}}}; {group.__name__} is in {package}"
    )


def with_present_arguments(config: Any) -> Any:  # noqa: ANN401 - any configuration value
    """A recorded configuration, its classes found, with its former arguments translated."""
    if not isinstance(config, dict | list):
        return config
    present = {key: with_present_arguments(element) for key, element in children(config)}
    if isinstance(config, list):
        return list(present.values())
    if is_node(config) and isinstance(config["class"], type) and isinstance(present["args"], dict):
        present["args"] = _grouped(present["args"], _former_of(config["class"]))
    return present


def _grouped(arguments: dict[str, Any], former: dict[str, tuple[str, type, str]]) -> dict[str, Any]:
    grouped = {name: value for name, value in arguments.items() if name not in former}
    for name in arguments.keys() & former.keys():
        argument, group, inside = former[name]
        node = grouped.setdefault(argument, {"class": group, "args": {}})
        node["args"][inside] = arguments[name]
    return grouped


def _former_of(cls: type) -> dict[str, tuple[str, type, str]]:
    found: dict[str, tuple[str, type, str]] = getattr(cls, "FORMER_ARGUMENTS", {})
    return found
