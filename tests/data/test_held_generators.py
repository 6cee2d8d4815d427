"""Where generators are found in objects of any kind, and that no object ends the search."""

import functools
import importlib.util
import random
import time
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from pylon.data import named_generators


class Slots:
    __slots__ = "rng"  # noqa: PLC0205 - Python takes it

    def __init__(self) -> None:
        self.rng = random.Random()


class Private:
    __slots__ = ("__rng", "unset")

    def __init__(self) -> None:
        self.__rng = random.Random()

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)


class OfTheClass:
    rng = np.random.default_rng()


class Nested(torch.nn.Module):
    def __init__(self, inside: int) -> None:
        super().__init__()
        self.layer = Nested(inside - 1) if inside else torch.nn.Identity()
        self.rng = None if inside else random.Random()


class WithState(torch.nn.Module):
    """Calls an attribute as an optimizer does."""

    def __init__(self) -> None:
        super().__init__()
        self.state = {"rng": random.Random()}


class Shared:
    """Its first attribute reaches the generator by a long way, its second by a short one."""

    def __init__(self) -> None:
        held = {"rng": [random.Random()]}
        self.long = [[[[held]]]]
        self.short = held


def closure() -> Any:
    rng = random.Random()

    def draw() -> float:
        return 2 * rng.random()

    return draw


HELD = {
    "a slot that is named alone": (Slots(), ".rng"),
    "a private slot": (Private(), "._Private__rng"),
    "the class": (OfTheClass(), ".rng"),
    "a deep module": (Nested(20), 20 * ".layer" + ".rng"),
    "a name of an optimizer's": (WithState(), ".state['rng']"),
    "a shorter way": (Shared(), ".short['rng'][0]"),
    "a bound method": ([np.random.default_rng().normal], "[0].__self__"),
    "a partial": (functools.partial(random.Random().gauss, 0.0), ".func.__self__"),
    "a closure": (closure(), ".rng"),
    "a key of the user's": ({object(): random.Random()}, "[#0]"),
}  # fmt: skip


@pytest.mark.parametrize(("owner", "place"), HELD.values(), ids=list(HELD))
def test_generator_is_found_by_a_place_that_another_process_finds(owner: object, place: str) -> None:
    assert list(named_generators({"model": owner})) == [f"model{place}"]


class Missing(dict[str, Any]):
    def items(self) -> Any:
        raise ValueError("mandatory value")

    def __len__(self) -> int:
        raise ValueError("closed")


class Unreadable:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("unbound")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __hash__(self) -> int:
        return 1


class Gone:
    pass


def lazily_imported() -> Any:
    """A module that would be imported if it were asked for its class."""
    spec: Any = importlib.util.spec_from_file_location("never_there", "/never/there.py")
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_object_ends_the_search() -> None:
    odd = [Missing(a=1), Unreadable(), {Unreadable(): 1}, weakref.proxy(Gone()), lazily_imported()]
    rng = random.Random()
    assert list(named_generators({"task": [*odd, rng]}).values()) == [rng]


def test_parameters_of_an_optimizer_are_not_looked_into() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(200, 200) for _ in range(100)))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.zeros(1, 200)).sum().backward()
    optimizer.step()
    begun_s = time.perf_counter()
    assert named_generators({"optimizer": optimizer}) == {}
    assert time.perf_counter() - begun_s < 0.1  # as text, they took a third of a second


def test_very_many_objects_are_not_all_looked_into() -> None:
    begun_s = time.perf_counter()
    nested = [[[{} for _ in range(200)] for _ in range(200)] for _ in range(100)]
    assert named_generators({"task": nested}) == {}
    assert time.perf_counter() - begun_s < 5
