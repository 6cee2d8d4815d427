"""A batch that a worker cannot hand over ends the epoch within seconds, with the cause and the cure."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.data import DataLoader, LoaderWorkerError
from pylon.data.hand_over import advice
from tests.data.samples import SampleDataset

pytestmark = pytest.mark.ci

REPOSITORY = Path(__file__).resolve().parents[2]


class UnsendableDataset(SampleDataset):
    """Its fourth datapoint holds what cannot travel."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "lock": (lambda: 1) if annotation == "train-3" else None}


class Unrebuildable:
    """Travels, and cannot be made again at the other end."""

    def __reduce__(self) -> tuple[Any, ...]:
        return int, ("no number",)


class UnrebuildableDataset(UnsendableDataset):
    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        return inputs, labels, {**meta_info, "lock": Unrebuildable() if annotation == "train-3" else None}


class NeedsGradientDataset(SampleDataset):
    """A part of a graph: torch refuses to send it."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        inputs, labels, meta_info = super()._load_datapoint(annotation)
        inputs["img_1"] = inputs["img_1"].requires_grad_() * 2
        return inputs, labels, meta_info


def first(datapoints: Sequence[Any]) -> Any:
    return datapoints[0]


@pytest.mark.parametrize("timeout_s", [None, 30.0])
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize(
    ("dataset", "cause"),
    [
        (UnsendableDataset, "lambda"),
        (UnrebuildableDataset, "invalid literal for int"),
        (NeedsGradientDataset, "requires_grad"),
    ],
)
def test_what_cannot_travel_is_named_within_seconds(
    dataset: type, cause: str, context: str, timeout_s: float | None
) -> None:
    loader = DataLoader(
        dataset("", "train"), batch_size=1, num_workers=1, timeout_s=timeout_s, collate_fn=first,
        multiprocessing_context=context,
    )  # fmt: skip
    begun_s = time.monotonic()
    with pytest.raises(
        LoaderWorkerError, match=rf"{dataset.__name__}: .*handed over \(.*{cause}.*must be able to travel"
    ):
        list(loader)
    loader.close()
    assert time.monotonic() - begun_s < (10 if context == "fork" else 30)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small /dev/shm")
def test_small_shared_memory_is_named_with_its_size_and_the_cure(tmp_path: Path) -> None:
    program = tmp_path / "small.py"
    program.write_text(
        "import time\n"
        "from pylon.data import DataLoader, LoaderWorkerError\n"
        "from tests.data.samples import SampleDataset\n"
        "class Large(SampleDataset):\n"
        "    SIZE = (512, 512)\n"
        "loader = DataLoader(Large('', 'train'), batch_size=2, num_workers=2, prefetch_factor=2)\n"
        "try:\n"
        "    for batch in loader:\n"
        "        time.sleep(1)\n"
        "except LoaderWorkerError as error:\n"
        "    print(error)\n"
        "loader.close()\n"
    )
    mounted = 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, "sh", sys.executable, str(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "unshare" in done.stderr and not done.stdout:
        pytest.skip(f"needs a mount namespace: {done.stderr.strip()}")
    assert "/dev/shm (8 MiB," in done.stdout, done.stdout + done.stderr
    assert "--shm-size" in done.stdout
    assert "num_workers" in done.stdout
    assert "Traceback" not in done.stderr


def test_descriptors_that_run_out_are_named() -> None:
    code = (
        "import resource\n"
        "from pylon.data import DataLoader, LoaderWorkerError\n"
        "from tests.data.samples import SampleDataset\n"
        "loader = DataLoader(SampleDataset('', 'train'), batch_size=1, num_workers=1, prefetch_factor=8)\n"
        "kept = []\n"
        "batches = iter(loader)\n"
        "kept.append(next(batches))\n"
        "import os; count = len(os.listdir('/proc/self/fd'))\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (count + 1, count + 1))\n"
        "try:\n"
        "    for batch in batches: kept.append(batch)\n"
        "except LoaderWorkerError as error:\n"
        "    resource.setrlimit(resource.RLIMIT_NOFILE, (count + 1, count + 1))\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert "ulimit -n" in done.stdout, done.stdout + done.stderr


class UsesUpDescriptors(SampleDataset):
    """From its third datapoint on, the process that reads it can open nothing any more."""

    def _load_datapoint(self, annotation: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        if annotation == "train-2":
            time.sleep(0.5)  # until the second one is on its way
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))
        return super()._load_datapoint(annotation)


def test_worker_that_can_open_nothing_for_a_batch_on_its_way_ends_the_epoch_without_a_traceback(
    capfd: pytest.CaptureFixture[str],
) -> None:
    loader = DataLoader(UsesUpDescriptors("", "train"), batch_size=1, num_workers=1, prefetch_factor=2)
    batches = iter(loader)
    next(batches)
    time.sleep(1.5)
    with pytest.raises(LoaderWorkerError, match=r"Too many open files.*ulimit -n"):
        next(batches)
    loader.close()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        (
            "unable to open shared memory object </torch_1> in read-write mode: Too many open files (24)",
            "ulimit -n",
        ),
        ("unable to resize file </torch_1> to the right size: File too large (27)", "ulimit -f"),
        ("unable to resize file </torch_1> to the right size: No space left on device (28)", "--shm-size"),
        ("can't start new thread", "--pids-limit"),
        ("received 0 items of ancdata", "ulimit -n"),
        ("cannot pickle 'generator' object", "able to travel"),
    ],
)
def test_advice_is_about_what_was_lacking(reason: str, fix: str) -> None:
    assert fix in advice(f"RuntimeError: {reason}")


def test_workers_that_cannot_be_started_for_a_limit_are_named_with_the_fix() -> None:
    code = (
        "import os, resource\n"
        "from pylon.data import DataLoader, LoaderWorkerError\n"
        "from tests.data.samples import SampleDataset\n"
        "loader = DataLoader(SampleDataset('', 'train'), batch_size=1, num_workers=2)\n"
        "count = len(os.listdir('/proc/self/fd'))\n"
        "limits = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (count + 3, limits[1]))\n"
        "try:\n"
        "    list(loader)\n"
        "except LoaderWorkerError as error:\n"
        "    print(error)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, limits)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "SampleDataset: its 2 loader workers cannot be started" in done.stdout, done.stdout + done.stderr
    assert "ulimit -n" in done.stdout
    assert done.stderr == ""


def test_tensors_travel_as_before() -> None:
    loader = DataLoader(SampleDataset("", "train"), batch_size=3, num_workers=2)
    batches = list(loader)
    loader.close()
    assert [len(batch["meta_info"]["idx"]) for batch in batches] == [3, 3, 1]
    assert all(isinstance(batch["inputs"]["img_1"], torch.Tensor) for batch in batches)
