"""The test pass of a training configuration, as a configuration of its own."""

from typing import Any

from pylon.runners.config.node import is_node, unshared
from pylon.runners.config.signatures import parameters_of

_SEEDS = frozenset({"seed", "init_seed", "test_seed"})


def evaluation_of(
    training: dict[str, Any],
    evaluator: type,
    *,
    checkpoint: str,
    work_dir: str | None = None,
    **arguments: Any,  # noqa: ANN401 - the evaluator's
) -> dict[str, Any]:
    """An evaluation-only configuration that shares with a training's everything that both take.

    It gives the test scores of that training's own test pass, to the bit.

    Args:
        training: the training's configuration, as in its file.
        evaluator: the class of the evaluation runner, such as SupervisedSingleTaskEvaluator.
        checkpoint: what it tests, see BaseEvaluator.
        work_dir: its run directory; None: the training's, with '-test' at its end.
        **arguments: of the evaluator, in place of the training's.
    """
    keys = evaluator.REQUIRED_KEYS | evaluator.OPTIONAL_KEYS | _SEEDS  # type: ignore[attr-defined]
    accepted, _ = parameters_of(evaluator, forwards=True)
    given = training["runner"]["args"]
    shared = {name: value for name, value in given.items() if name in accepted}
    if "channels_last" in accepted and is_node(given.get("stepping")):
        shared["channels_last"] = given["stepping"]["args"].get("channels_last", False)
    config: dict[str, Any] = unshared({key: value for key, value in training.items() if key in keys})
    config["runner"] = {
        "class": evaluator,
        "args": {**unshared(shared), "checkpoint": checkpoint, **arguments},
    }
    if work_dir is not None or "work_dir" in training:
        config["work_dir"] = work_dir or str(training["work_dir"]).rstrip("/") + "-test"
    return config
