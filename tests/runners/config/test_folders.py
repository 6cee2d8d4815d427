"""Modules next to a configuration: found first, never in place of Python's own, each folder with its own."""

import json
import sys
from collections.abc import Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

import pytest

from pylon.runners.config import file_digests, folders, load_config, to_json
from pylon.runners.config.names import class_name, find_class
from pylon.runners.errors import ConfigError

CONFIG = "{imports}\nconfig = {{'model': {{'class': Net, 'args': {{}}}}}}\n"


@pytest.fixture(autouse=True)
def left_afterwards() -> Iterator[None]:
    yield
    folders.leave_others(set())


def write(folder: Path, imports: str = "from models import Net", **modules: str) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in modules.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    path = folder / "run_0.py"
    path.write_text(CONFIG.format(imports=imports))
    return path


def model_of(path: Path) -> Any:
    return load_config(path)["model"]["class"]


NET = "class Net:\n    place = {place!r}\n"


@pytest.mark.parametrize("name", ["models", "data", "metrics", "criteria", "monitor", "utils"])
def test_module_next_to_the_configuration_goes_before_a_package_of_the_checkout(
    tmp_path: Path, name: str
) -> None:
    path = write(tmp_path, f"from {name} import Net", **{name: NET.format(place="mine")})
    assert model_of(path).place == "mine"


@pytest.mark.parametrize("layout", ["nets__unet", "nets__parts__unet"])
def test_module_in_a_folder_without_init_is_found(tmp_path: Path, layout: str) -> None:
    (tmp_path / "nets" / "parts").mkdir(parents=True)
    dotted = layout.replace("__", ".")
    path = write(tmp_path, f"from {dotted} import Net", **{layout: NET.format(place="mine")})
    assert class_name(model_of(path)) == f"{tmp_path}:{dotted}:Net"


def test_package_is_named_by_the_shortest_module_that_offers_the_class(tmp_path: Path) -> None:
    (tmp_path / "nets").mkdir()
    (tmp_path / "nets" / "__init__.py").write_text("from nets.unet import Net\n")
    path = write(tmp_path, "from nets.unet import Net", nets__unet=NET.format(place="mine"))
    assert class_name(model_of(path)) == f"{tmp_path}:nets:Net"


def test_resolved_configuration_finds_the_modules_again_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "exp",
        "from models import Net as Base\nclass Net(Base): pass",
        models="from parts import Net\n",
        parts=NET.format(place="mine"),
    )
    resolved = tmp_path / "elsewhere" / "config.json"
    resolved.parent.mkdir()
    resolved.write_text(json.dumps(to_json(load_config(path))))
    other = write(tmp_path / "exp", "from models import Net")
    plain = tmp_path / "plain.json"
    plain.write_text(json.dumps(to_json(load_config(other))))
    assert f'"{tmp_path / "exp"}:parts:Net"' in plain.read_text()
    folders.leave_others(set())
    monkeypatch.chdir("/")
    assert model_of(plain).place == "mine"
    path.write_text(CONFIG.format(imports="from models import Net as Base\nclass Net(Base): pass"))
    folders.leave_others(set())
    assert model_of(resolved).place == "mine"


def test_two_folders_have_a_module_of_the_same_name(tmp_path: Path) -> None:
    paths = {place: write(tmp_path / place, models=NET.format(place=place)) for place in ("first", "second")}
    for place in ("first", "second", "first"):
        assert model_of(paths[place]).place == place
        assert folders.entered() == [tmp_path / place]
        assert [str(tmp_path / one) in sys.path for one in paths] == [one == place for one in paths]


def test_class_of_a_folder_is_not_looked_for_in_another(tmp_path: Path) -> None:
    first, second = (write(tmp_path / place, models=NET.format(place=place)) for place in ("first", "second"))
    model_of(first)
    with pytest.raises(LookupError, match="'models'"):
        find_class(f"{second.parent}:models:Net")
    with pytest.raises(LookupError, match="there is no folder"):
        find_class(f"{tmp_path / 'third'}:models:Net")


@pytest.mark.parametrize("name", ["random", "queue", "statistics", "logging"])
def test_module_of_python_is_never_hidden(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, models=NET.format(place="mine"), **{name: "raise SystemError('hidden')\n"})
    model_of(path)
    found = PathFinder.find_spec(name)
    assert found is not None
    assert found.origin is not None
    assert not found.origin.startswith(str(tmp_path)), "a worker would import it in place of Python's"
    path.write_text(CONFIG.format(imports=f"from {name} import Net"))
    with pytest.raises(ConfigError, match=f"(?s)line 1: .*{tmp_path}/{name}.py: rename this file"):
        load_config(path)


@pytest.mark.parametrize("name", ["torch", "numpy", "pylon"])
def test_module_with_the_name_of_a_loaded_package_is_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, models=NET.format(place="mine"), **{name: ""})
    before = list(sys.path)
    with pytest.raises(ConfigError, match=f"{tmp_path}/{name}.py: has the name of the package '{name}'"):
        load_config(path)
    assert sys.path == before


def test_folder_of_data_does_not_hide_anything(tmp_path: Path) -> None:
    for name in ("torch", "numpy", "data"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "image.png").touch()
    assert model_of(write(tmp_path, models=NET.format(place="mine"))).place == "mine"


def test_modules_that_were_loaded_before_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, models_of_mine="", models=NET.format(place="mine"))
    monkeypatch.syspath_prepend(str(tmp_path))
    before = __import__("models_of_mine")
    model_of(path)
    folders.leave_others(set())
    assert sys.modules.get("models_of_mine") is before
    assert str(tmp_path) in sys.path
    assert "models" not in sys.modules
    del sys.modules["models_of_mine"]


def test_link_to_a_configuration_uses_the_folder_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path / "exp", models=NET.format(place="mine"))
    link = tmp_path / "link.py"
    link.symlink_to(path)
    assert model_of(link).place == "mine"


def test_own_modules_are_recorded_with_the_configuration(tmp_path: Path) -> None:
    path = write(tmp_path, models=NET.format(place="mine"))
    load_config(path)
    assert {str(path), str(tmp_path / "models.py")} <= file_digests().keys()


def test_error_in_a_module_next_to_the_configuration_names_both_lines(tmp_path: Path) -> None:
    path = write(tmp_path, "\nfrom models import Net", models="\n\n1 / 0\n")
    with pytest.raises(ConfigError, match=r"line 2: in .*/models\.py, line 3: ZeroDivisionError"):
        load_config(path)
    path = write(tmp_path, "\nfrom models import Net", models="\nx = (\n")
    with pytest.raises(ConfigError, match=r"line 2: in .*/models\.py, line 2: SyntaxError: '\(' was never"):
        load_config(path)
