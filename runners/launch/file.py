"""One configuration file, or the `config.json` of a run directory, to one finished run or all its stages."""

from pathlib import Path
from typing import Any

from rich.console import Console

from pylon.runners.config import load_config
from pylon.runners.distributed import World
from pylon.runners.launch.run import Options, Outcome, prepared_config, run_config
from pylon.runners.launch.stages import prepared_stages, references, run_stages
from pylon.runners.run_directory.weights import path_beside


def run_file(path: Path, options: Options, console: Console, world: World | None = None) -> Outcome:
    """Run the configuration in `path`, with all its stages if it has some; resume it, or find it finished.

    Args:
        path: a configuration file, or the `config.json` of a run directory.
        options: the command line.
        console: receives progress and log lines.
        world: the ranks that do the run together, each of which calls this; None: this process alone.

    Raises:
        PylonError: anything that ends the run before its end; `exit_code` gives the kind.
    """
    world = world or World()
    loaded = world.together(lambda: load_config(path))
    if "stages" in loaded:
        stages = world.together(lambda: prepared_stages(loaded, path, options))
        return run_stages(stages, options, console, world)
    if options.work_dir is not None:
        loaded = _with_paths(loaded)
    config = world.together(lambda: prepared_config(loaded, path, options))
    return run_config(config, options, console, world)


def _with_paths(config: dict[str, Any]) -> dict[str, Any]:
    """A single run that goes to another place than configured: what is next to that is named by its path."""
    found = dict(references(config))
    if not found or not isinstance(config.get("work_dir"), str):
        return config
    runner, root = config["runner"], Path(config["work_dir"])
    paths = {name: str(path_beside(root, value)) for name, value in found.items()}
    return {**config, "runner": {**runner, "args": {**runner["args"], **paths}}}
