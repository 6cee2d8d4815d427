"""HANet's GPU kernels without a GPU: what they compute, in Triton's interpreter, and that they translate."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIRED = os.environ.get("PYLON_REQUIRE_TRITON") == "1"
_ABSENT = importlib.util.find_spec("triton") is None

pytestmark = pytest.mark.skipif(_ABSENT and not REQUIRED, reason="triton is not installed (.[test-kernels])")


def program(*arguments: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_kernels_compute_what_torch_does_and_hanet_with_them_what_it_does_without() -> None:
    found = json.loads(program("-m", "tests.models.gpu_kernels_subject"))
    assert found["hanet"] < 1e-4
    assert found["other shapes"] == []
    assert len(found["convolutions"]) == 9
    for name, difference in found["convolutions"].items():
        assert difference < (1e-2 if "bfloat16" in name else 1e-5), name


@pytest.mark.parametrize("capability", [80, 90])
def test_kernels_translate_for_the_gpus_that_take_them(capability: int) -> None:
    found = json.loads(program("-m", "tests.models.gpu_kernels_translated", str(capability)))
    assert sorted(found) == [
        f"{kernel} {kind}"
        for kernel in ("convolve", "features_gradient", "weights_gradient")
        for kind in ("bf16", "fp32")
    ]
    for name, size in found.items():
        assert size > 0, name
