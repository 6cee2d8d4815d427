"""What the package offers: complete, documented, and with the signatures that were promised."""

import enum
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pylon import monitor
from pylon.monitor import BaseMonitor, CPUMonitor, GPUMonitor, SystemMonitor

REPOSITORY = Path(__file__).resolve().parents[2]
CLASSES = [one for name in monitor.__all__ if inspect.isclass(one := getattr(monitor, name))]


def test_everything_public_is_listed() -> None:
    public = {
        name
        for name, value in vars(monitor).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public == set(monitor.__all__)


def test_list_is_sorted_and_without_doubles() -> None:
    assert list(monitor.__all__) == sorted(set(monitor.__all__))


def test_everything_listed_can_be_imported() -> None:
    names: dict[str, Any] = {}
    exec("from pylon.monitor import *", names)
    assert set(monitor.__all__) <= set(names)


@pytest.mark.parametrize(
    "package", ["pylon.monitor", "pylon.monitor.status", "pylon.monitor.collectors", "pylon.monitor.ssh"]
)
def test_every_list_of_a_package_names_what_is_there(package: str) -> None:
    module = importlib.import_module(package)
    listed = getattr(module, "__all__", [])
    assert listed == sorted(listed)
    assert [name for name in listed if not hasattr(module, name)] == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_class_has_a_docstring_of_its_own(cls: type) -> None:
    said = vars(cls).get("__doc__") or ""
    assert said.strip(), f"{cls.__name__} does not say what it is"
    # A dataclass and a type alias get a made one, which is their signature.
    assert not said.startswith(f"{cls.__name__}(")


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_public_methods_have_docstrings(cls: type) -> None:
    silent = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and inspect.isfunction(value if not isinstance(value, property) else value.fget)
        and not value.__doc__
    ]
    assert silent == []


@pytest.mark.parametrize(
    "cls", [one for one in CLASSES if issubclass(one, enum.Enum)], ids=lambda cls: cls.__name__
)
def test_enum_explains_each_of_its_values(cls: type[enum.Enum]) -> None:
    if cls is monitor.Scope:
        # Its four words are explained where they are used.
        return
    for one in cls:
        assert one.value in (cls.__doc__ or ""), one


def test_signature_of_the_system_monitor_is_as_promised() -> None:
    parameters = inspect.signature(SystemMonitor).parameters.values()
    assert [(one.name, one.default) for one in parameters][:6] == [
        ("servers", ("localhost",)),
        ("interval_s", 1.0),
        ("timeout_s", 5.0),
        ("window_size", 10),
        ("join_timeout_s", 2.0),
        ("gpu", True),
    ]
    assert all(one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for one in parameters)
    assert all(one.default is not inspect.Parameter.empty for one in parameters), "SystemMonitor() works"


@pytest.mark.parametrize("cls", [SystemMonitor, BaseMonitor, CPUMonitor, GPUMonitor])
@pytest.mark.parametrize("name", ["start", "latest", "health", "stop"])
def test_life_cycle_takes_no_arguments(cls: type, name: str) -> None:
    assert list(inspect.signature(getattr(cls, name)).parameters) == ["self"]


@pytest.mark.parametrize("cls", [SystemMonitor, CPUMonitor, GPUMonitor])
def test_monitor_is_a_context_manager(cls: type) -> None:
    assert hasattr(cls, "__enter__")
    assert hasattr(cls, "__exit__")


def test_what_a_subclass_must_say_is_how_a_server_is_read() -> None:
    assert BaseMonitor.__abstractmethods__ == {"_update_single_server"}


def test_package_can_be_imported_without_warnings_and_starts_nothing() -> None:
    code = (
        "import sys, threading, pylon.monitor;"
        "sys.exit(threading.active_count() - 1 + ('multiprocessing.resource_tracker' in sys.modules"
        " and sys.modules['multiprocessing.resource_tracker']._resource_tracker._pid is not None))"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
