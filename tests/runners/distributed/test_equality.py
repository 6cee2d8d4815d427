"""Several ranks and one process that accumulates as many batches: the same training."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.runners.distributed.conftest import Lab, stepping

pytestmark = pytest.mark.slow

NORM = "model={'class': Steady, 'args': {'norm': True}}"


def losses(directory: Path) -> torch.Tensor:
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return torch.tensor([json.loads(line)["loss"] for line in lines], dtype=torch.float64)


def scores(directory: Path) -> list[Any]:
    paths = [*sorted(directory.glob("epoch_*/validation_scores.json")), directory / "test/test_results.json"]
    contents = [json.loads(path.read_text()) for path in paths]
    return [(content["aggregated"], content["per_datapoint"]) for content in contents]


def weights(directory: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(directory / "checkpoint_latest.pt", weights_only=True)[
        "parts"
    ]["model"]
    return state


# 6 batches an epoch: with 4 at a time, two ranks of four have none in the last step, and stand in.
@pytest.mark.parametrize(("ranks", "accumulate"), [(2, 1), (4, 1), (2, 2)])
def test_ranks_train_as_one_process_that_accumulates_their_batches(
    lab: Lab, ranks: int, accumulate: int
) -> None:
    together = lab.run("together", ranks, stepping(accumulate_batches=accumulate))
    assert together.codes == [0] * ranks, together.said
    alone = lab.run("alone", 1, stepping(accumulate_batches=ranks * accumulate))
    assert alone.codes == [0], alone.said
    first, second = losses(lab.directory("together")), losses(lab.directory("alone"))
    assert len(first) == 3 * -(-6 // (ranks * accumulate))
    # The order of a sum of `ranks` float32 numbers is all that differs.
    assert torch.allclose(first, second, rtol=2e-6, atol=0)
    for name, value in weights(lab.directory("alone")).items():
        assert torch.allclose(weights(lab.directory("together"))[name], value, rtol=1e-5, atol=1e-7), name


def test_batch_normalisation_changes_no_training_loss(lab: Lab) -> None:
    """Each batch is normalised by itself; only the running statistics know of ranks."""
    assert lab.run("together", 2, NORM).codes == [0, 0]
    assert lab.run("alone", 1, f"{NORM}, {stepping(accumulate_batches=2)}").codes == [0]
    assert torch.equal(losses(lab.directory("together")), losses(lab.directory("alone")))


def test_two_ranks_give_the_bits_of_one_process(lab: Lab) -> None:
    """With two summands there is no order: what is left is that each datapoint counts, and counts once."""
    assert lab.run("together", 2).codes == [0, 0]
    assert lab.run("alone", 1, stepping(accumulate_batches=2)).codes == [0]
    assert torch.equal(losses(lab.directory("together")), losses(lab.directory("alone")))
    assert scores(lab.directory("together")) == scores(lab.directory("alone"))
    assert any(aggregated["f1_changed"] for aggregated, _ in scores(lab.directory("alone")))
    assert all(
        torch.equal(value, weights(lab.directory("together"))[name])
        for name, value in weights(lab.directory("alone")).items()
    )


def test_parameters_of_the_criterion_are_those_of_one_process(lab: Lab) -> None:
    learnt = (
        "criterion={'class': Learnt, 'args': {}}, optimizer={'class': torch.optim.SGD, 'args': "
        "{'lr': 0.5, 'weight_decay': 0.1}}"
    )
    assert lab.run("together", 2, f"{learnt}, {stepping(clip_norm=0.5)}").codes == [0, 0]
    assert lab.run("alone", 1, f"{learnt}, {stepping(accumulate_batches=2, clip_norm=0.5)}").codes == [0]
    first, second = (
        torch.load(lab.directory(name) / "checkpoint_latest.pt", weights_only=True)["parts"]["criterion"]
        for name in ("together", "alone")
    )
    assert abs(float(second["log_variance"])) > 0.05, "it is trained"
    assert torch.allclose(first["log_variance"], second["log_variance"], rtol=1e-5, atol=0)
    assert torch.equal(first["unused"], torch.ones(2)), "without a gradient there is no weight decay either"
    assert torch.allclose(
        losses(lab.directory("together")), losses(lab.directory("alone")), rtol=2e-6, atol=0
    )


def test_evaluation_shared_by_ranks_gives_the_bits_of_one_process(lab: Lab) -> None:
    assert lab.run("trained", 1).codes == [0]
    results = []
    for name, ranks in (("four", 4), ("one", 1)):
        checkpoint = lab.directory("trained") / "checkpoint_best.pt"
        ended = lab.run(name, ranks, repr(str(checkpoint)), form="evaluation_of")
        assert ended.codes == [0] * ranks, ended.said
        results.append(json.loads((lab.directory(name) / "test/test_results.json").read_text()))
        del results[-1]["time_s"]
    assert results[0] == results[1]
    assert results[0]["per_datapoint"]["idx"] == list(range(9))


def test_stages_hand_on_their_weights_and_are_recognised_on_ranks_too(lab: Lab) -> None:
    assert lab.run("all", 2, form="staged_config").codes == [0, 0]
    for stage in ("first", "second", "tested"):
        assert json.loads((lab.directory("all") / stage / "state.json").read_text())["state"] == "finished"
    assert "starting with the weights of" in (lab.directory("all") / "second" / "train.log").read_text()
    again = lab.run("all", 2, form="staged_config")
    assert again.codes == [0, 0]
    assert again.said[0].count("this run is finished") == 3
    assert again.said[1] == ""


def test_running_statistics_are_those_of_all_ranks_batches(lab: Lab) -> None:
    """Momentum 1 keeps the last step's statistics alone: their mean over the ranks' batches."""
    sgd = "optimizer={'class': torch.optim.SGD, 'args': {'lr': 0.0}}, scheduler=None"
    assert lab.run("together", 2, f"{NORM}, {sgd}, epochs=1").codes == [0, 0]
    assert lab.run("alone", 1, f"{NORM}, {sgd}, epochs=1").codes == [0]
    ours, one = weights(lab.directory("together")), weights(lab.directory("alone"))
    mean = "layers.1.running_mean"
    assert not torch.equal(ours[mean], torch.zeros_like(ours[mean]))
    # Three steps of the mean of two batches, against six of one: near each other, and not the same.
    assert torch.allclose(ours[mean] / (1 - 0.9**3), one[mean] / (1 - 0.9**6), rtol=0.05)
    content = torch.load(lab.directory("together") / "checkpoint_latest.pt", weights_only=True)
    assert content["progress"]["ranks"] == 2


def test_files_are_written_once_and_tell_how_many_ranks_there_were(lab: Lab) -> None:
    ended = lab.run("together", 2)
    assert ended.codes == [0, 0]
    directory = lab.directory("together")
    (launch,) = json.loads((directory / "environment.json").read_text())["launches"]
    assert launch["ranks"] == 2
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["global_step"] for line in lines] == list(range(9))
    assert "finished:" in ended.said[0]
    assert ended.said[1] == ""


def test_steps_with_a_closure_are_those_of_one_process(lab: Lab) -> None:
    lbfgs = "optimizer={'class': torch.optim.LBFGS, 'args': {'lr': 0.5, 'max_iter': 4}}, scheduler=None"
    assert lab.run("together", 2, lbfgs).codes == [0, 0]
    assert lab.run("alone", 1, f"{lbfgs}, {stepping(accumulate_batches=2)}").codes == [0]
    together, alone = lab.directory("together"), lab.directory("alone")
    assert torch.equal(losses(together), losses(alone))
    assert all(torch.equal(value, weights(together)[name]) for name, value in weights(alone).items())


def test_lazy_layers_are_those_of_one_process(lab: Lab) -> None:
    lazy = "model={'class': Lazy, 'args': {}}"
    assert lab.run("together", 2, lazy).codes == [0, 0]
    assert lab.run("alone", 1, f"{lazy}, {stepping(accumulate_batches=2)}").codes == [0]
    together, alone = lab.directory("together"), lab.directory("alone")
    assert torch.equal(losses(together), losses(alone))
    assert all(torch.equal(value, weights(together)[name]) for name, value in weights(alone).items())
