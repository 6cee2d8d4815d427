"""A rank that is killed, fails or is asked to stop ends all of them, and the run goes on to the same bits."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from pylon.runners.randomness import RandomState
from pylon.runners.training.stepping import replay
from pylon.runners.training.supervised import SupervisedSingleTask
from tests.runners.distributed.conftest import Lab, stepping
from tests.runners.distributed.ranks import Ranks
from tests.shutdown.compare_runs import differences

pytestmark = pytest.mark.ci


def random_run(lab: Lab, name: str, ranks: int = 2, act: str = "", changes: str = "") -> Any:
    return lab.run(name, ranks, f"act={act!r}, {changes}", form="random_config")


def state_of(directory: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((directory / "state.json").read_text())
    return content


def go_on_without_acting(lab: Lab, name: str, ranks: int = 2, form: str = "random_config") -> None:
    """The same command, once the run no longer does what ended it: as after a kill from outside."""
    path = lab.directory(name) / "config.json"
    content = json.loads(path.read_text())
    content["criterion"]["args"]["act"] = ""
    path.write_text(json.dumps(content))
    ended = lab.run(name, ranks, form=form)
    assert ended.codes == [0] * ranks, ended.said


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_rank_ends_all_at_once_and_the_run_goes_on_to_the_same_bits(
    lab: Lab, victim: int, whole: Path
) -> None:
    begun = time.monotonic()
    ended = random_run(lab, "killed", act=f"SIGKILL {victim} 5")
    assert time.monotonic() - begun < 60
    other = 1 - victim
    assert ended.codes[victim] == -signal.SIGKILL
    assert ended.codes[other] == 1
    assert "A rank of this run is gone" in ended.said[other]
    assert "resumes from the newest checkpoint" in ended.said[other]
    assert "Traceback" not in ended.said[other]
    # A killed writer can write no more: then the file tells the truth at the next launch.
    assert state_of(lab.directory("killed"))["state"] == ("running" if victim == 0 else "failed")
    go_on_without_acting(lab, "killed")
    assert (
        "resuming after 1 finished epochs and 1 steps" in (lab.directory("killed") / "train.log").read_text()
    )
    assert differences(whole, lab.directory("killed")) == []


@pytest.mark.parametrize("rank", [0, 3])
def test_signal_to_any_one_rank_stops_all_at_the_same_step_and_saves_it(
    lab: Lab, rank: int, whole_of_four: Path
) -> None:
    ended = random_run(lab, "stopped", 4, act=f"SIGTERM {rank} 3")
    assert ended.codes == [75] * 4, ended.said
    assert state_of(lab.directory("stopped")).items() >= {"state": "preempted", "signal": "SIGTERM"}.items()
    assert "Stopped by SIGTERM" in ended.said[0]
    # torch's own warning of what looking for unused parameters costs cannot be turned off.
    others = [line for said in ended.said[1:] for line in said.splitlines() if "find_unused_p" not in line]
    assert others == [], "one rank tells it for all"
    assert (lab.directory("stopped") / "epoch_1" / "step_1.pt").exists()
    go_on_without_acting(lab, "stopped", 4)
    assert differences(whole_of_four, lab.directory("stopped")) == []


def test_gradients_are_added_up_in_the_same_order_after_a_resume(lab: Lab) -> None:
    assert lab.run("whole", 4, form="crossed_config").codes == [0] * 4
    assert lab.run("stopped", 4, "act='SIGTERM 1 4'", form="crossed_config").codes == [75] * 4
    go_on_without_acting(lab, "stopped", 4, form="crossed_config")
    assert differences(lab.directory("whole"), lab.directory("stopped")) == []


def test_signal_that_comes_in_validation_stops_all_and_keeps_the_trained_epoch(lab: Lab) -> None:
    ranks = Ranks(2, lab.config("stopped", "", form="slow_validation"), lab.folder)
    ranks.wait_for(lab.folder / "validating")
    ranks.signal(1, signal.SIGUSR1)
    ended = ranks.end()
    assert ended.codes == [75, 75], ended.said
    assert (lab.directory("stopped") / "epoch_0" / "trained.pt").exists()


def test_error_of_one_rank_is_told_by_the_first_one_with_its_traceback_in_the_log(lab: Lab) -> None:
    ended = random_run(lab, "failed", act="raise 1 4")
    assert ended.codes == [1, 1]
    assert "rank 1 ended: KeyError" in ended.said[0]
    assert "a bug of the user's" in state_of(lab.directory("failed"))["error"]
    assert 'raise KeyError("a bug of the user' in (lab.directory("failed") / "train.log").read_text()


def test_damaged_datapoint_of_one_rank_is_told_once(lab: Lab) -> None:
    ended = lab.run("damaged", 2, form="damaged_config")
    assert ended.codes == [1, 3]
    assert "rank 1 ended: 5 is damaged" in ended.said[0]
    assert ended.said[1] == ""
    saved = lab.directory("damaged") / "epoch_0" / "trained.pt"
    assert len(torch.load(saved, weights_only=True)["parts"]["random"]["ranks"]) == 2, "the epoch is kept"


def test_lost_loader_worker_is_not_taken_for_a_lost_rank(lab: Lab) -> None:
    ended = random_run(lab, "lost", act="lost 0 2")
    assert "LoaderWorkerError: a batch could not be received" in ended.said[0]
    assert "A rank of this run is gone" not in ended.said[0]


@pytest.mark.parametrize("used_on", [[], [0], [1]])
def test_parameters_without_a_gradient_are_named_before_a_step_is_taken(lab: Lab, used_on: list[int]) -> None:
    # A single step: torch alone would complain in the second one, and otherwise hang or abort.
    model = f"epochs=1, model={{'class': Partial, 'args': {{'ranks': {used_on}}}}}"
    args = {"score": "f1_changed", "max_batches_per_epoch": 2}
    ended = lab.run("unused", 2, f"{model}, runner={{'class': SupervisedSingleTaskTrainer, 'args': {args}}}")
    assert ended.codes == [1, 1], ended.said
    assert "sometimes.weight, sometimes.bias got no gradient" in "".join(ended.said)
    assert "find_unused_parameters=True" in "".join(ended.said)
    assert list(lab.directory("unused").glob("epoch_*/*.pt")) == []


def test_error_that_all_ranks_share_is_told_once(lab: Lab) -> None:
    ended = lab.run("wrong", 2, "epochs=0")
    assert ended.codes == [2, 2]
    assert "epochs is 0" in ended.said[0]
    assert ended.said[1] == ""


def test_fault_that_all_ranks_find_before_the_first_step_is_reported_once(lab: Lab) -> None:
    schedule = "{'class': __import__('torch').optim.lr_scheduler.OneCycleLR, 'args': %s}"
    changes = f"epochs=3, scheduler={schedule % {'max_lr': 0.1, 'total_steps': 2}}"
    ended = lab.run("short", 2, changes)
    assert ended.codes == [2, 2], ended.said
    assert "scheduler is OneCycleLR: fails at its step 3 of 3 (3 epochs)" in ended.said[0]
    assert ended.said[1] == ""
    assert state_of(lab.directory("short"))["state"] == "failed"


def test_other_number_of_ranks_is_refused_because_a_step_would_be_another_one(lab: Lab) -> None:
    assert random_run(lab, "run", act="SIGTERM 0 3").codes == [75, 75]
    path = lab.directory("run") / "config.json"
    path.write_text(path.read_text().replace("SIGTERM 0 3", ""))
    for ranks in (1, 3):
        ended = random_run(lab, "run", ranks)
        assert ended.codes == [4] * ranks
        assert f"holds a run of 2 processes, and this launch has {ranks}" in ended.said[0]
        assert "".join(ended.said[1:]) == ""
    assert random_run(lab, "run", 2).codes == [0, 0], "and nothing was lost by it"


def test_configuration_that_differs_between_ranks_is_refused_with_the_difference(lab: Lab) -> None:
    ended = lab.run("run", 2, form="config_of_rank")
    assert ended.codes == [2, 2]
    assert "configuration of rank 1: " in ended.said[0]
    assert "epochs is 2: expected 1 as on rank 0" in ended.said[0]
    assert ended.said[1] == ""


def test_several_files_are_refused(lab: Lab) -> None:
    both = [str(lab.config(name)) for name in ("one", "two")]
    ended = lab.run("one", 2, "", "--config-filepath", *both)
    assert ended.codes == [2, 2]
    assert "one configuration file" in ended.said[0]


def test_step_with_a_nan_on_one_rank_is_left_out_by_all_and_can_be_computed_again(lab: Lab) -> None:
    args = stepping(non_finite="skip")
    ended = random_run(lab, "skipped", act="nan 1 2", changes=args)
    assert ended.codes == [0, 0], ended.said
    assert "what reproduces it" in ended.said[0]
    assert ended.said[1] == ""
    lines = [
        json.loads(line) for line in (lab.directory("skipped") / "metrics.jsonl").read_text().splitlines()
    ]
    assert [line["global_step"] for line in lines if line.get("skipped")] == [1]
    (dump,) = (lab.directory("skipped") / "non_finite").glob("*.pt")
    content = torch.load(dump, weights_only=True)
    assert [len(rank["batches"]) for rank in content["ranks"]] == [1, 1]
    from tests.runners.distributed.steady import Acting, ToyModel

    model, criterion = ToyModel(), Acting()
    device = torch.device("cpu")
    task = SupervisedSingleTask(model, criterion, device, tile_size=None, tile_overlap=0)
    assert 0 < replay(content, task, [model, criterion], RandomState(device)) < 2


def test_one_monitor_per_machine(lab: Lab) -> None:
    path = lab.config("watched", f"monitor=noted_monitor({str(lab.folder)!r})")
    ended = Ranks(4, path, lab.folder, nodes=2).end()
    assert ended.codes == [0] * 4, ended.said
    assert sorted(one.name for one in lab.folder.glob("monitor_of_rank_*")) == [
        "monitor_of_rank_0",
        "monitor_of_rank_2",
    ]
    lines = [
        json.loads(line) for line in (lab.directory("watched") / "metrics.jsonl").read_text().splitlines()
    ]
    told = [line["machines"] for line in lines if "machines" in line]
    assert [(one["rank"], one["monitor"]) for (one,) in told] == [(2, {"of": "rank 2"})], "once per refresh"
