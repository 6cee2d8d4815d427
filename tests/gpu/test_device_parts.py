"""The parts that need a device pass on the CPU, in short, and fail with a subject that is wrong."""

import json
import math
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.training.checkpoints import Saves
from pylon.runners.distributed.world import World
from tests.gpu import memory, resuming, runs, saving, speed, training
from tests.gpu.__main__ import main
from tests.gpu.nccl import wrong_sums
from tests.gpu.outcomes import Machine, Report, Setting
from tests.gpu.speed import Speed
from tests.shutdown.resume import Tally

pytestmark = [pytest.mark.ci, pytest.mark.timeout(400)]

NO_GPU = Machine("this torch is built without it", [], [], [], "none")


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    return Setting("cpu", True, 1, 300, None, str(tmp_path), NO_GPU)


@pytest.fixture
def wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each recipe is one that is wrong."""
    monkeypatch.setattr(runs, "RECIPES", "tests.gpu.wrong")


@pytest.mark.ci
@pytest.mark.parametrize("parts", [["training", "resume", "kills"], ["nccl", "memory", "saving", "speed"]])
def test_parts_pass_on_the_cpu(parts: list[str], tmp_path: Path) -> None:
    content = tmp_path / "found.json"
    arguments = ["--device", "cpu", "--short", "--json", str(content), "--parts", *parts]
    code = main(arguments)
    found = json.loads(content.read_text(encoding="utf-8"))["results"]
    assert [(one["part"], one["outcome"], one["failures"]) for one in found] == [
        (part, "passed", []) for part in parts
    ]
    assert code == 0
    assert all(one["figure"] and one["seconds"] > 0 for one in found)


def test_training_fails_on_runs_with_other_losses_and_with_none(
    setting: Setting, wrong: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SHORT", ("float32", "float8"))
    monkeypatch.setitem(training.VARIANTS, "float8", ({"precision": "float8"}, 0.1))
    ended, other, missing = training.run(setting).failures
    assert ended.startswith("width 4, float8: exit code 2, expected 0")
    assert other.startswith("width 4, float32: losses [")
    assert other.endswith("apart, at most 2%")
    assert missing == "width 4, float8: 0 losses and 5 of the reference, expected 5"


@pytest.mark.parametrize(
    "found", [[1.0, 0.9, 0.8, 0.7, 0.613], [1.0, math.nan, 0.8, 0.7, 0.6], [1.0, 0.9, 0.8, 0.7, math.inf]]
)
def test_losses_beyond_the_tolerance_fail(found: list[float]) -> None:
    expected = [1.0, 0.9, 0.8, 0.7, 0.6]
    assert training.wrong_losses("float32", expected, [*expected[:-1], 0.611], 0.02) == []
    assert training.wrong_losses("float32", expected, found, 0.02) != []
    assert training.wrong_losses("float32", found, expected, 0.02) != []


def test_resume_fails_on_a_run_that_is_killed_and_not_repeatable(
    setting: Setting, wrong: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resuming, "STOP", signal.SIGKILL)
    report = resuming.stop(setting)
    assert report.failures[0].startswith("SIGTERM: exit code -9, expected 75")
    assert report.details["differences"] > 10
    assert all(one.endswith(": differs") for one in report.failures[1:])


def test_resume_says_how_a_run_ended_that_came_to_no_save(setting: Setting) -> None:
    # A file in place of the second run's directory: it fails at its start.
    (setting.root / "stopped").write_text("no directory")
    failures = resuming.stop(setting).failures
    assert len(failures) == 1
    assert failures[0].startswith("it ended before it saved: exit code 4")
    assert str(setting.root / "stopped") in failures[0]


def test_resume_fails_without_numbers_to_compare(tmp_path: Path) -> None:
    report = Report()
    resuming.compare(report, tmp_path, tmp_path)
    assert report.failures == ["the whole run has no checkpoint to compare"]


@pytest.mark.parametrize(
    ("tallies", "failure"),
    [
        ([Tally(kills=10, runs=3)] * 2, None),
        ([Tally(kills=10, runs=3), Tally(kills=10, runs=3, found=["run 1: a.pt: differs"])], "run 1: a.pt"),
        ([Tally(kills=10, runs=3), Tally(kills=9, runs=3)], "19 kills in the time, expected 20"),
        ([Tally(kills=10, runs=3), Tally(kills=10, runs=0)], "no run was compared"),
    ],
)
def test_kills_fail_on(tallies: list[Tally], failure: str | None) -> None:
    failures = resuming.judged(tallies, 20).failures
    assert failures == [] if failure is None else failures[0].startswith(failure)


class DoublingWorld(World):
    """Adds up its own numbers twice."""

    def add_up(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.mul_(2)


class HalvingWorld(World):
    """Halves the gradients."""

    def replicate(self, model: torch.nn.Module, *, find_unused_parameters: bool) -> torch.nn.Module:
        for one in model.parameters():
            one.register_hook(lambda gradient: gradient / 2)
        return model


@pytest.mark.parametrize(
    ("world", "failures"),
    [
        (World(), []),
        (DoublingWorld(), ["the sum over one rank is not its own number"]),
        (
            HalvingWorld(),
            [f"the mean gradient of {name} over one rank is not its own" for name in ("weight", "bias")],
        ),
    ],
)
def test_nccl_fails_on_other_sums_and_gradients(world: World, failures: list[str]) -> None:
    assert wrong_sums(world, torch.device("cpu")) == failures


def test_memory_fails_on_another_error(setting: Setting, wrong: None) -> None:
    failures = memory.run(setting).failures
    assert any("the message has no 'Out of memory: '" in one for one in failures)


def test_memory_fails_without_the_gpu_s_figures(tmp_path: Path) -> None:
    printed = "Out of memory: no\nThe monitor's last figures: none.\nTry a smaller batch_size"
    assert memory.judged(1, printed, "cpu", tmp_path).failures == []
    failures = memory.judged(1, printed, "cuda", tmp_path).failures
    assert [one.partition(":")[0] for one in failures] == [
        "the log has no summary of the allocator",
        "the message has no 'CUDA out of memory'",
        "the message has no 'gpu_memory_used_bytes'",
    ]
    assert memory.judged(0, f"Traceback\n{printed}", "cpu", tmp_path).failures == [
        "exit code 0, expected 1",
        "the user is shown a traceback",
    ]


@pytest.mark.parametrize(
    ("asynchronous_s", "failure"),
    [
        ([0.02, 0.03, 0.5], None),
        (
            [0.061, 0.062, 0.063],
            "an asynchronous save stops training for 62.0 ms, a synchronous one for 50.0",
        ),
        ([0.02, 0.03], "asynchronous: 2 saves, expected 3"),
    ],
)
def test_saving_fails_on(asynchronous_s: list[float], failure: str | None) -> None:
    found = {
        "synchronous": Saves([0.05, 0.04, 0.06], [0.1] * 3),
        "asynchronous": Saves(asynchronous_s, [0.1] * 3),
    }
    failures = saving.judged(found, 3, noise_s=0.005).failures
    assert failures == [] if failure is None else failures[0].startswith(failure)


class PlainModel(torch.nn.Conv2d):
    """One layer."""

    def __init__(self) -> None:
        super().__init__(3, 2, 1)

    def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
        return super().forward(img_1 - img_2)


def test_speed_shows_each_figure_as_soon_as_it_is_measured(
    setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(one: speed.Contender, *_: object, **__: object) -> Speed:
        if one.precision != "float32":
            raise TimeoutError
        return Speed(51.8, 5 << 30, 1.0)

    monkeypatch.setattr(speed, "measured", measured)
    with pytest.raises(TimeoutError):
        speed.run(setting)
    assert capsys.readouterr().out == "HANet, float32: 52 pairs/s, 5.00 GiB\n"


def test_speed_fails_on_a_loss_that_is_not_finite(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    class NaNModel(PlainModel):
        def forward(self, img_1: torch.Tensor, img_2: torch.Tensor) -> torch.Tensor:
            return super().forward(img_1, img_2) * math.nan

    monkeypatch.setattr(speed.models, "HANet", NaNModel)
    failures = speed.run(setting).failures
    assert len(failures) == len(speed.contenders(authors=False, short=True))
    assert failures[0] == "HANet, float32: the loss is nan"


def test_speed_fails_without_figures() -> None:
    assert speed.judged({}).failures == ["nothing was measured"]
    good = Speed(100.0, 2**30, 0.5)
    assert speed.judged({"HANet": good}).figure == "HANet: 100 pairs/s, 1.00 GiB"
    assert speed.judged({"HANet": replace(good, pairs_per_s=0.0)}).failures != []


@pytest.mark.parametrize(
    ("wanted", "right", "failed"),
    [(True, [], ["float32", "bfloat16"]), (True, [torch.float32], ["bfloat16"]), (False, [], [])],
)
def test_speed_fails_if_hanets_own_kernels_failed_their_trial(
    wanted: bool, right: list[torch.dtype], failed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed.choice, "wanted", lambda device: wanted)
    monkeypatch.setattr(speed.choice, "tried_on", lambda device, dtype: dtype in right)
    found = speed.failed_kernels(torch.device("cuda", 0))
    assert [text.split(":")[0] for text in found] == [f"HANet, {precision}" for precision in failed]
    assert speed.failed_kernels(torch.device("cpu")) == []


def test_speed_is_measured_next_to_the_authors_code(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed.models, "HANet", PlainModel)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "HANet.py").write_text(
        "import torch\n\n\nclass HAN(torch.nn.Conv2d):\n"
        "    def __init__(self):\n        super().__init__(3, 2, 1)\n\n"
        "    def forward(self, first, second):\n        print('hello')\n"
        "        return (super().forward(first - second),)\n"
    )
    report = speed.run(replace(setting, authors=str(tmp_path)))
    assert report.failures == []
    assert [one for one in report.details if "authors" in one] == [
        "authors' HANet, float32", "authors' HANet, bfloat16"
    ]  # fmt: skip
    assert "authors' HANet, bfloat16: " in report.figure
