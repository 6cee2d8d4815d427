"""The real packages, and what each has of a record, read back with its own reader where it has one."""

import contextlib
import importlib.util
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.views.loggers.wandb_server import Hosted

Points = list[tuple[str, int, float, float]]


@dataclass(frozen=True)
class Content:
    """What a service has of a run.

    Attributes:
        points: name, step, time, value; in any order.
        pictures: names.
        state: of the last launch's end, as the service shows it.
        configuration: a value that the run was configured with.
    """

    points: Points
    pictures: list[str]
    state: str
    configuration: Any


class Service:
    """A package with a store in a folder of the test."""

    name: str
    library: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def arguments(self) -> dict[str, Any]:
        return {}

    def read(self, run: Path) -> Content:
        raise NotImplementedError


class TensorBoard(Service):
    name, library = "tensorboard", "tensorboardX"

    def read(self, run: Path) -> Content:
        from tensorboardX.proto.event_pb2 import Event

        points, pictures, texts = [], [], {}
        for file in sorted((run / "tensorboard").iterdir(), key=lambda one: one.stat().st_mtime_ns):
            for raw in _tf_records(file.read_bytes()):
                event = Event.FromString(raw)
                for value in event.summary.value:
                    if value.HasField("image"):
                        assert (value.image.width, value.image.height) == (1, 1)
                        pictures.append(value.tag)
                    elif value.HasField("tensor"):
                        texts[value.tag.partition("/")[0]] = value.tensor.string_val[0].decode()
                    else:
                        points.append((value.tag, event.step, event.wall_time, value.simple_value))
        return Content(
            points, pictures, texts["end"], json.loads(texts.get("configuration", "{}")).get("seed")
        )


class MLflow(Service):
    name, library = "mlflow", "mlflow"

    def arguments(self) -> dict[str, Any]:
        return {"tracking_uri": f"sqlite:///{self.folder / 'mlflow.db'}"}

    def read(self, run: Path) -> Content:
        from mlflow.tracking import MlflowClient

        client = MlflowClient(**{"tracking_uri": None, **self.arguments()})
        experiment = client.get_experiment_by_name("pylon")
        (found,) = client.search_runs([experiment.experiment_id])
        points = [
            (name, one.step, one.timestamp / 1000, one.value)
            for name in found.data.metrics
            for one in client.get_metric_history(found.info.run_id, name)
        ]
        artifacts = [one.path for one in client.list_artifacts(found.info.run_id)]
        pictures = [one.removesuffix(".png") for one in artifacts if one.endswith(".png")]
        tags = found.data.tags
        assert found.info.status == {"finished": "FINISHED"}.get(tags["pylon.state"], "KILLED")
        state = f"{tags['pylon.state']}: {tags['pylon.cause']}"
        return Content(points, pictures, state, int(found.data.params["seed"]))


class MLflowFolder(MLflow):
    """It keeps a point twice that it is given twice."""

    def arguments(self) -> dict[str, Any]:
        return {"tracking_uri": (self.folder / "mlruns").as_uri()}


class Trackio(Service):
    name, library = "trackio", "trackio"

    def arguments(self) -> dict[str, Any]:
        return {"folder": str(self.folder / "trackio")}

    def read(self, run: Path) -> Content:
        import sqlite3

        points, pictures = [], []
        with contextlib.closing(sqlite3.connect(self.folder / "trackio/pylon.db")) as connection:
            rows = connection.execute("SELECT timestamp, step, metrics FROM metrics").fetchall()
            ((text,),) = connection.execute("SELECT config FROM configs").fetchall()
        for time_text, step, metrics in rows:
            t = _unix(time_text)
            for name, value in json.loads(metrics).items():
                if isinstance(value, dict):
                    assert (self.folder / "trackio/media" / value["file_path"]).is_file()
                    pictures.append(name)
                else:
                    points.append((name, step, t, value))
        config = json.loads(text)
        return Content(points, pictures, f"{config['pylon.state']}: {config['pylon.cause']}", config["seed"])


class WandbOffline(Service):
    name, library = "wandb", "wandb"

    def arguments(self) -> dict[str, Any]:
        return {"mode": "offline"}

    def read(self, run: Path) -> Content:
        from wandb.proto.wandb_internal_pb2 import Record

        points, pictures, state, configuration = [], [], {}, None
        for file in sorted((run / "wandb").glob("offline-run-*/*.wandb")):
            for raw in _level_records(file.read_bytes()):
                record = Record.FromString(raw)
                for item in record.run.config.update:
                    configuration = json.loads(item.value_json) if item.key == "seed" else configuration
                for item in record.summary.update:
                    state[item.key or item.nested_key[0]] = item.value_json
                items = record.history.item
                pictures += dict.fromkeys(one.nested_key[0] for one in items if len(one.nested_key) > 1)
                row = {one.key or one.nested_key[0]: json.loads(one.value_json) for one in items}
                points += [
                    (name, row["step"], row["_timestamp"], value)
                    for name, value in row.items()
                    if "/" in name and name not in pictures
                ]
        shown = f"{json.loads(state['state'])}: {json.loads(state['cause'])}"
        return Content(points, pictures, shown, configuration)


class WandbOnline(Service):
    """With a stand-in for the service, whose address is in the environment."""

    name, library = "wandb", "wandb"
    hosted = Hosted()

    def read(self, run: Path) -> Content:
        hosted, points, pictures = self.hosted, [], []
        for row in map(json.loads, hosted.history):
            for name, value in row.items():
                if isinstance(value, dict):
                    pictures.append(name)
                elif "/" in name:
                    points.append((name, row["step"], row["_timestamp"], value))
        assert hosted.id is not None
        state = f"{hosted.summary['state']}: {hosted.summary['cause']}"
        assert hosted.exit_codes[-1] == (0 if state == "finished: clean" else 1)
        return Content(points, pictures, state, hosted.config["seed"]["value"])


SERVICES = (TensorBoard, MLflow, MLflowFolder, Trackio, WandbOffline, WandbOnline)


def require(library: str) -> None:
    """Skip the test without a library, or fail if PYLON_REQUIRE_LOGGERS=1 is set."""
    if importlib.util.find_spec(library) is not None:
        return
    reason = f"{library} is not installed: pip install '.[tensorboard,wandb,mlflow,trackio]'"
    if os.environ.get("PYLON_REQUIRE_LOGGERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _tf_records(content: bytes) -> Iterator[bytes]:
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        yield content[place + 12 : place + 12 + length]
        place += 16 + length
    assert place == len(content), "the file ends within a record"


def _level_records(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, behind W&B's header of 7 bytes."""
    place, found = 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", content, place + 4)
        found += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield found
            found = b""


def _unix(text: str) -> float:
    import datetime

    return datetime.datetime.fromisoformat(text).timestamp()
