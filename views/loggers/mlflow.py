"""MLflow: a tracking server, a database, or a folder."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pylon.views.loggers.contract import End, Entry, Logger, Picture, Run, Scalars

_TAG = "pylon.run"
# What the server accepts in one call, and in a parameter.
_MOST_METRICS = 1000
_MOST_PARAMETERS = 100
_LONGEST_PARAMETER = 500
_NOT_IN_A_NAME = re.compile(r"[^\w\-. :/]")
_STATUS = {"finished": "FINISHED", "stopped": "KILLED", "killed": "KILLED"}
# The process is ended if it waits for long: the entries are sent again later.
_SHORT_WAITS = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "20", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

_Key = tuple[str, int, int]


class MLflowLogger(Logger):
    """Sends to MLflow, as one run with all launches.

    Args:
        tracking_uri: None: $MLFLOW_TRACKING_URI, or MLflow's default.
        experiment: is made if it is absent.
    """

    LIBRARY = "mlflow"
    EXTRA = "mlflow"

    def __init__(self, tracking_uri: str | None = None, experiment: str = "pylon") -> None:
        self._uri = tracking_uri
        self._experiment = experiment
        self._client: Any = None
        self._run_id = ""
        self._ended = False
        self._waiting: list[tuple[str, float, int, int]] = []
        self._known: set[_Key] = set()

    def open(self, run: Run, kept: Mapping[str, Any]) -> None:
        """See Logger."""
        for name, value in _SHORT_WAITS.items():
            os.environ.setdefault(name, value)
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        self._ended = bool(kept.get("ended", False))
        self._run_id = kept.get("run") or self._found(run) or self._begun(run)

    def again(self, entries: Sequence[Entry]) -> None:
        """See Logger."""
        names = {_name(name) for one in entries if isinstance(one, Scalars) for name in one.values}
        for name in names:
            history = self._client.get_metric_history(self._run_id, name)
            self._known.update((one.key, one.timestamp, one.step) for one in history)

    def scalars(self, entry: Scalars) -> None:
        """See Logger."""
        self._resume()
        for name, value in entry.values.items():
            key = (_name(name), round(entry.t * 1000), entry.step)
            if key not in self._known:
                self._waiting.append((key[0], value, key[1], key[2]))

    def picture(self, entry: Picture) -> None:
        """See Logger."""
        self._send()
        self._resume()
        folder, _, _ = entry.name.rpartition("/")
        self._client.log_artifact(self._run_id, entry.path, folder or None)

    def end(self, entry: End) -> None:
        """See Logger."""
        self._send()
        self._client.set_tag(self._run_id, "pylon.state", entry.state)
        self._client.set_tag(self._run_id, "pylon.cause", entry.cause)
        self._client.set_terminated(
            self._run_id, _STATUS.get(entry.state, "FAILED"), end_time=round(entry.t * 1000)
        )
        self._ended = True

    def flush(self) -> dict[str, Any]:
        """See Logger."""
        self._send()
        return {"run": self._run_id, "ended": self._ended}

    def close(self) -> dict[str, Any]:
        """See Logger."""
        return self.flush()

    def _experiment_id(self) -> str:
        found = self._client.get_experiment_by_name(self._experiment)
        return str(self._client.create_experiment(self._experiment) if found is None else found.experiment_id)

    def _found(self, run: Run) -> str | None:
        """The run that a process has made which was killed before it could note that."""
        query = f"tags.`{_TAG}` = '{run.id}'"
        runs = self._client.search_runs([self._experiment_id()], query, max_results=1)
        return str(runs[0].info.run_id) if runs else None

    def _begun(self, run: Run) -> str:
        from mlflow.entities import Param

        tags = {
            _TAG: run.id,
            **{f"pylon.{name}": value[:_LONGEST_PARAMETER] for name, value in run.about.items()},
        }
        made = self._client.create_run(self._experiment_id(), tags=tags, run_name=run.name)
        parameters = [Param(name, value) for name, value in _flat(run.configuration, "")]
        for first in range(0, len(parameters), _MOST_PARAMETERS):
            self._client.log_batch(made.info.run_id, params=parameters[first : first + _MOST_PARAMETERS])
        return str(made.info.run_id)

    def _resume(self) -> None:
        if self._ended:
            self._client.update_run(self._run_id, status="RUNNING")
            self._ended = False

    def _send(self) -> None:
        from mlflow.entities import Metric

        while self._waiting:
            metrics = [Metric(*one) for one in self._waiting[:_MOST_METRICS]]
            self._client.log_batch(self._run_id, metrics=metrics)
            del self._waiting[:_MOST_METRICS]


def _name(name: str) -> str:
    return _NOT_IN_A_NAME.sub("_", name)[:250]


def _flat(value: Any, key_path: str) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """The plain values of a configuration by their key paths."""
    if isinstance(value, Mapping | list) and value:
        items = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, element in items:
            yield from _flat(element, f"{key_path}.{key}".lstrip("."))
    else:
        yield _name(key_path), str(value)[:_LONGEST_PARAMETER] or " "
