"""Imports go one way: main -> runners -> {data, models, criteria, metrics} and monitor's public names."""

import ast
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
ALLOWED = {
    "storage": set(),
    "monitor": {"masking", "threads", "psutil", "pynvml", "paramiko", "cryptography"},
    "recorder": {
        *("storage", "monitor", "masking", "signals", "threads", "psutil", "matplotlib"),
        *("lightning", "pytorch_lightning", "transformers", "accelerate"),
    },
    "views": {
        *("storage", "monitor", "recorder", "masking", "extras"),
        *("textual", "rich", "uvicorn", "h11", "prometheus_client", "opentelemetry"),
        *("tensorboardX", "wandb", "mlflow", "trackio"),
    },
    "data": {"storage", "signals", "threads", "numpy", "torch", "PIL", "psutil"},
    "models": {"torch", "triton"},
    "criteria": {"torch"},
    "metrics": {"storage", "numpy", "torch"},
    "runners": {
        *("storage", "monitor", "recorder", "views", "data", "models", "criteria", "metrics"),
        *("numpy", "torch", "PIL", "rich", "matplotlib", "typeguard", "psutil"),
        *("extras", "masking", "signals", "threads"),
    },
    "configs": {"configs", "runners", "monitor", "data", "models", "criteria", "metrics", "torch"},
}
# What this machine's readings and a server's come to, in one place.
SHARED_FIGURES = ("host_figures", "meminfo", "gpu_figures", "cgroup.files", "cgroup.figures")


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    """The modules that a file imports, also inside functions."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append(node.module or "." * node.level)
    return tuple(found)


def owner(name: str) -> str:
    """The package that an import is of: the one below `pylon`, or the foreign one."""
    return name.removeprefix("pylon.").partition(".")[0]


def sources(package: str) -> list[Path]:
    return sorted((REPOSITORY / package).rglob("*.py"))


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_package_imports_only_what_it_may(package: str) -> None:
    assert sources(package), f"{package} has no source files: the test would pass on nothing"
    allowed = ALLOWED[package] | {package, "pylon"} | sys.stdlib_module_names
    strays = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources(package)
        for name in imports_of(path)
        if owner(name) not in allowed
    }
    assert strays == set()


def test_others_use_only_what_the_monitor_exports() -> None:
    # A view has the words and the options of the plain ones.
    plain = ("pylon.monitor.views.", "pylon.monitor.cli.")
    deep = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for package in set(ALLOWED) - {"monitor"}
        for path in sources(package)
        for name in imports_of(path)
        if name.startswith("pylon.monitor.") and not (package == "views" and name.startswith(plain))
    }
    assert deep == set()


# From the bottom up: what is in a layer imports from its own part and from the layers below it, at import and
# at run time alike.
MONITOR_LAYERS = (
    {"errors", "text"},
    {"limits"},
    {"settings"},
    {"status"},
    {"collectors", "ssh"},
    {"process"},
    {"running"},
    {"base"},
    {"cpu", "gpu", "remote"},
    {"system"},
    {"fleet", "views"},
    {"cli"},
)


def parts_of(package: str) -> set[str]:
    """The modules and folders right below a package, by name."""
    found = {path.relative_to(REPOSITORY / package).parts[0].removesuffix(".py") for path in sources(package)}
    return found - {"__init__", "__main__"}


RECORDER_LAYERS = (
    {"history", "channel"},
    {"verdict", "endings", "node"},
    {"alerts"},
    {"process"},
    {"wrapper", "callbacks", "report"},
    {"cli"},
)

VIEWS_LAYERS = (
    {"sources", "access"},
    {"terminal", "web", "export", "loggers"},
    {"cli"},
)


@pytest.mark.parametrize(
    ("package", "layers"),
    [("monitor", MONITOR_LAYERS), ("recorder", RECORDER_LAYERS), ("views", VIEWS_LAYERS)],
    ids=["monitor", "recorder", "views"],
)
def test_layers_inside_a_package(package: str, layers: tuple[set[str], ...]) -> None:
    layer_of = {part: number for number, layer in enumerate(layers) for part in layer}
    assert parts_of(package) == set(layer_of), "each part has its layer"
    upward = set()
    for path in sources(package):
        part = path.relative_to(REPOSITORY / package).parts[0].removesuffix(".py")
        if part not in layer_of:
            continue
        for name in imports_of(path):
            other = name.removeprefix(f"pylon.{package}.").partition(".")[0]
            if name.startswith(f"pylon.{package}.") and other != part and layer_of[other] >= layer_of[part]:
                upward.add(f"{path.relative_to(REPOSITORY)}: {name}")
    assert upward == set()


@pytest.mark.parametrize(
    "door",
    [
        ("pynvml", "collectors/nvml/"),
        ("psutil", "collectors"),
        ("paramiko", "monitor/ssh"),
        ("cryptography", "monitor/ssh"),
    ],
)
def test_each_foreign_system_has_one_door(door: tuple[str, str]) -> None:
    library, place = door
    users = {
        str(path.relative_to(REPOSITORY))
        for path in sources("monitor")
        if library in {owner(name) for name in imports_of(path)}
    }
    assert users, f"nothing imports {library}"
    assert all(place in user for user in users), users


@pytest.mark.parametrize(
    "heavy", ["torch", "numpy", "matplotlib", "pylon.runners", "paramiko", "cryptography"]
)
@pytest.mark.parametrize("package", ["monitor", "recorder", "views"])
def test_monitor_recorder_and_views_load_nothing_heavy(package: str, heavy: str) -> None:
    code = f"import sys, pylon.{package}, pylon.{package}.cli; sys.exit({heavy!r} in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False).returncode == 0
    )


@pytest.mark.parametrize(
    ("package", "below"),
    [
        ("collectors/cgroup", ("status", "collectors.counters", "collectors.attempts", "collectors.proc")),
        ("remote/far", ("status", "text", *(f"collectors.{one}" for one in SHARED_FIGURES))),
    ],
)
def test_readers_import_only_what_is_below_them(package: str, below: tuple[str, ...]) -> None:
    own = f"pylon.monitor.{package.replace('/', '.')}"
    allowed = (own, "pylon.masking", *(f"pylon.monitor.{one}" for one in below))
    strays = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources(f"monitor/{package}")
        for name in imports_of(path)
        if name.startswith("pylon.") and not any(name == one or name.startswith(f"{one}.") for one in allowed)
    }
    assert strays == set()


@pytest.mark.parametrize(
    ("package", "libraries"),
    [
        # What reads other machines loads no library for the hardware of this one, by no way round.
        ("pylon.monitor.remote", {"pynvml", "psutil", "torch"}),
        ("pylon.monitor.status", {"pynvml", "psutil", "paramiko", "torch"}),
        ("pylon.monitor.collectors.proc", {"pynvml", "psutil", "paramiko", "torch"}),
    ],
)
def test_package_loads_none_of_these_libraries(package: str, libraries: set[str]) -> None:
    code = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        "for one in pkgutil.walk_packages(getattr(package, '__path__', ()), package.__name__ + '.'):\n"
        "    importlib.import_module(one.name)\n"
        "print(*(name for name in sys.modules if name.startswith(package.__name__)))\n"
        f"print(*({libraries!r} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPOSITORY, timeout=60, check=True, capture_output=True, text=True)
    loaded, strays = done.stdout.splitlines()
    assert package in loaded.split()
    assert package != "pylon.monitor.remote" or "pylon.monitor.remote.far.gpus" in loaded.split()
    assert strays == ""


@pytest.mark.parametrize("module", ["main", "pylon.__main__", "pylon.runners.launch.command_line"])
def test_what_worker_processes_import_again_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60, check=False).returncode == 0
    )


# What each place below runners/ may import of the others; the folders build on one another in this order.
_BASE = {
    *("errors", "signals", "devices", "memory", "allocator", "randomness", "seeds", "logs"),
    *("keys", "object_generators", "source", "user_code"),
}
_SECOND = {"config", "distributed", "outputs"}
_THIRD = _BASE | _SECOND
RUNNERS: dict[str, set[str]] = {
    **{place: {"errors"} for place in _BASE},
    **{place: {"errors", "keys"} for place in ("source", "seeds")},
    "object_generators": {"errors", "user_code"},
    "randomness": {"errors", "object_generators"},
    **{place: set(_BASE) for place in _SECOND},
    "run_directory": _THIRD,
    "training": _THIRD | {"run_directory"},
    "launch": _THIRD | {"run_directory", "training"},
    "public": _THIRD | {"run_directory", "training"},
    "__init__": {"public"},
}


@pytest.mark.parametrize("place", sorted(RUNNERS))
def test_place_in_the_runners_imports_only_what_is_below_it(place: str) -> None:
    folder = REPOSITORY / "runners"
    files = sorted((folder / place).rglob("*.py")) or [folder / f"{place}.py"]
    strays = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in files
        for name in runners_imports_of(path)
        if name not in RUNNERS[place] | {place}
    }
    assert strays == set()


def test_every_place_in_the_runners_has_its_layer() -> None:
    places = {path.stem for path in (REPOSITORY / "runners").iterdir() if path.name != "__pycache__"}
    assert places == set(RUNNERS)


def runners_imports_of(path: Path) -> Iterator[str]:
    """What is imported of `runners`, also in functions: 'config' of `pylon.runners.config.build`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            names = [node.module or ""]
            if node.module in {"pylon", "pylon.runners"}:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[:2] == ["pylon", "runners"]:
                yield parts[2] if len(parts) > 2 else "__init__"
