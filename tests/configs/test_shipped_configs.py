"""Every shipped configuration loads, is sound, and comes back from JSON."""

import json
from pathlib import Path

import pytest

from pylon.runners.config import check_config, differences, load_config, to_json
from pylon.runners.config.resolve import from_json

BENCHMARKS = Path(__file__).resolve().parents[2] / "configs" / "benchmarks"
FILES = sorted(path for path in BENCHMARKS.rglob("*_run_*.py"))
NAMES = [str(path.relative_to(BENCHMARKS)) for path in FILES]


def test_the_benchmarks_are_complete() -> None:
    models = ("HANet", "FC_EF", "FC_Siam_conc", "FC_Siam_diff")
    expected = {
        f"change_detection/{data}/{model}_run_{run}.py"
        for data in ("air_change", "levir_cd")
        for model in models
        for run in range(3)
    }
    assert expected | {"change_detection/demo/HANet_run_0.py"} <= set(NAMES)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_configuration_is_sound_and_comes_back_from_json(path: Path) -> None:
    config = load_config(path)
    check_config(config, source=path)
    resolved = json.loads(json.dumps(to_json(config)))
    again = from_json(resolved, path)
    check_config(again, source=path)
    assert differences(resolved, to_json(again)) == []


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_file_is_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 40


@pytest.mark.parametrize("data", ["air_change", "levir_cd"])
def test_runs_of_a_model_differ_in_seeds_alone_and_models_share_them(data: str) -> None:
    folder = BENCHMARKS / "change_detection" / data
    first, second = (to_json(load_config(folder / f"HANet_run_{run}.py")) for run in (0, 1))
    changed = {key_path.partition(".")[0] for key_path, _, _ in differences(first, second)}
    assert changed == {"seed"}
    assert first["work_dir"] != second["work_dir"]
    other = to_json(load_config(folder / "FC_EF_run_0.py"))
    assert {key_path for key_path, _, _ in differences(first, other)} == {"model.class"}


def test_data_root_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_DATASETS", "/data")
    config = load_config(BENCHMARKS / "change_detection" / "air_change" / "HANet_run_1.py")
    assert config["train_dataset"]["args"]["data_root"] == "/data/air_change"
