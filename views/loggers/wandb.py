"""Weights & Biases: its service, or its files for `wandb sync`."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pylon.views.loggers.contract import End, Logger, LoggerError, Picture, Run, Scalars

_INIT_WITHIN_S = 45.0


class WandbLogger(Logger):
    """Sends to W&B, as one run with all launches; its history's rows have the numbers of the entries.

    W&B writes nothing for some 15 s and does not report what its service has: only a session that was ended
    is known to be complete. The online one continues where the service is; an offline one that was killed is
    removed, and its entries come again.

    Args:
        project: of W&B.
        entity: a user or team; None: the default one.
        mode: 'online' or 'offline'; None: $WANDB_MODE, or online.
        folder: for W&B's own files; None: the run's directory.
    """

    LIBRARY = "wandb"
    EXTRA = "wandb"
    CONFIRMS_BY_CLOSING = True

    def __init__(
        self,
        project: str = "pylon",
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
        folder: str | None = None,
    ) -> None:
        if mode not in {None, "online", "offline"}:
            raise ValueError(f"mode: {mode!r}, expected 'online' or 'offline'")
        self._options: dict[str, Any] = {"project": project, "entity": entity}
        self._mode: str = mode or os.environ.get("WANDB_MODE") or "online"
        self._given = folder
        self._run: Any = None
        self._first_row = 0
        self._state: str | None = None
        self._complete = False

    def open(self, run: Run, kept: Mapping[str, Any]) -> None:
        """See Logger."""
        folder = Path(self._given).expanduser() if self._given else run.folder
        folder.mkdir(parents=True, exist_ok=True)
        if not kept.get("complete", True):
            _remove_offline(folder, Path(kept["folder"]), run.id)
        self._options |= {
            "id": run.id,
            "name": run.name,
            "dir": str(folder),
            "config": {**run.configuration, **{f"pylon_{name}": text for name, text in run.about.items()}},
        }
        self._run = self._begun(final=self._mode == "offline")
        self._first_row = int(self._run.starting_step)
        self._run.define_metric("step", hidden=True)
        for group in ("train/*", "score/*", "system/*"):
            self._run.define_metric(group, step_metric="step", step_sync=False)

    def scalars(self, entry: Scalars) -> None:
        """See Logger."""
        self._log(entry, dict(entry.values))

    def picture(self, entry: Picture) -> None:
        """See Logger."""
        import wandb

        self._log(entry, {entry.name: wandb.Image(entry.path)})

    def end(self, entry: End) -> None:
        """See Logger."""
        self._log(entry, {"pylon/ended": 1.0})
        self._run.summary.update({"state": entry.state, "cause": entry.cause})
        self._state = entry.state

    def flush(self) -> dict[str, Any]:
        """See Logger."""
        return {"folder": str(self._run.settings.sync_dir), "complete": self._complete}

    def close(self) -> dict[str, Any]:
        """See Logger."""
        code = 0 if self._state in {None, "finished"} else 1
        self._run.finish(exit_code=code)
        self._complete = True
        kept = self.flush()
        if self._state is not None and self._mode != "offline":
            # The run's state at the service changes with its end alone, not with that of a session.
            self._begun(final=True).finish(exit_code=code)
        return kept

    def _begun(self, *, final: bool) -> Any:  # noqa: ANN401 - of the library
        import wandb

        settings = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            # They would be of this process.
            x_disable_stats=True,
            x_disable_meta=True,
            x_update_finish_state=final,
            init_timeout=_INIT_WITHIN_S,
        )
        try:
            return wandb.init(**self._options, mode=self._mode, resume="allow", settings=settings)
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            problem = str(error).rstrip(". ")
            fix = "Run `wandb login`, or set WANDB_API_KEY or WANDB_MODE=offline"
            raise LoggerError(f"{problem}. {fix}") from error

    def _log(self, entry: Scalars | Picture | End, values: dict[str, Any]) -> None:
        if entry.row >= self._first_row:
            self._run.log({**values, "step": entry.step, "_timestamp": entry.t}, step=entry.row)


def _remove_offline(folder: Path, session: Path, identity: str) -> None:
    """Remove the session of a process that was killed; one of the service's own is not needed, and stays."""
    name = session.name
    if name.startswith("offline-run-") and name.endswith(f"-{identity}") and folder in session.parents:
        shutil.rmtree(session, ignore_errors=True)
