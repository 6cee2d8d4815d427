"""The entry `loggers`: what the record of a run is sent to while it goes on."""

from collections.abc import Iterator
from typing import Any

from pylon.runners.config.names import class_name, place_of
from pylon.runners.config.signatures import shown
from pylon.runners.errors import ConfigProblem
from pylon.views.loggers import Logger
from pylon.views.loggers.names import absence_of

KEY = "loggers"


def logger_problems(config: dict[str, Any]) -> Iterator[ConfigProblem]:
    """What is wrong with the entry, apart from the form of its nodes; nothing is imported for a logger.

    Args:
        config: has the entry, which is not None.
    """
    loggers = config[KEY]
    if not isinstance(loggers, list | tuple):
        yield ConfigProblem(KEY, shown(loggers), "expected a list: [{'class': a Logger, 'args': {...}}, ...]")
        return
    if loggers and "monitor" in config and config["monitor"] is None:
        yield ConfigProblem(
            KEY, None, "needs the run's record, which a run with 'monitor': None does not write"
        )
    classes = [one.get("class") if isinstance(one, dict) else None for one in loggers]
    for number, (node, cls) in enumerate(zip(loggers, classes, strict=True)):
        if not isinstance(cls, type):
            continue  # which is a problem of its form
        key_path = f"{KEY}.{number}.class"
        if problem := _class_problem(cls):
            yield ConfigProblem(key_path, cls.__name__, problem)
        elif cls in classes[:number]:
            yield ConfigProblem(
                key_path, cls.__name__, "expected each class once: another is sent to by `pylon log`"
            )
        yield from _argument_problems(node.get("args"), f"{KEY}.{number}.args")


def _class_problem(cls: type) -> str | None:
    if not issubclass(cls, Logger):
        return "expected a Logger of pylon.views.loggers: let the class inherit from it"
    if place_of(class_name(cls)) is not None:
        return "expected a class of an installed module: the process that sends finds no other"
    return absence_of(cls)


def _argument_problems(arguments: object, key_path: str) -> Iterator[ConfigProblem]:
    if not isinstance(arguments, dict):
        return
    for name, value in arguments.items():
        if value is not None and not isinstance(value, str):
            yield ConfigProblem(f"{key_path}.{name}", shown(value), "expected text, or None")
