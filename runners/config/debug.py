"""`--debug`: the same run, short and sent to no logger, in a directory next to the real one."""

from typing import Any

_EPOCHS = 3
_BATCHES = 3


def debug_config(config: dict[str, Any]) -> dict[str, Any]:
    """A checked configuration cut to 3 epochs of 3 batches, with `<work_dir>.debug` as its directory."""
    runner = config["runner"]
    short = {
        **config,
        "work_dir": str(config["work_dir"]).rstrip("/") + ".debug",
        "runner": {**runner, "args": {**runner["args"], "max_batches_per_epoch": _BATCHES}},
    }
    short.pop("loggers", None)
    if "epochs" in config:
        short["epochs"] = min(config["epochs"], _EPOCHS)
    for key in ("train_seeds", "val_seeds"):
        if key in config:
            short[key] = list(config[key])[:_EPOCHS]
    return short
