"""The monitors that are compared. Each is used as its documentation shows, at 1 Hz, without a network.

What a library needs is imported in `load`: this module is part of every training process here.
"""
# ruff: noqa: PLC0415 - the import of each subject's library is itself measured

import contextlib
import logging
import os
import threading
from dataclasses import dataclass, field
from typing import Any

INTERVAL_S = 1.0
GPUS = 8


class Subject:
    """No monitor: what the others are compared with.

    Attributes:
        readable: whether the newest values can be had in the training process by a public call.
    """

    readable = True

    def __init__(self) -> None:
        self._newest: Any = None

    def prepare(self) -> None:
        """Make what a user has from former runs, such as a data base."""

    def load(self) -> None:
        """Import the library."""

    def start(self) -> None:
        """Start it as a user does."""

    def latest(self) -> Any:  # noqa: ANN401 - each library's own type
        """The newest values."""
        return self._newest

    def sampled(self) -> bool:
        """Whether there are values of processor and GPUs."""
        return True

    def stop(self) -> None:
        """Stop it as a user does."""

    def manager_pid(self) -> int | None:
        """The Manager process, where there is one."""
        return None


class Pylon(Subject):
    """SystemMonitor with its defaults."""

    def load(self) -> None:
        """Import the monitor package."""
        from pylon.monitor import SystemMonitor

        self._monitor = SystemMonitor(interval_s=INTERVAL_S)
        # No method between a step and the look that is measured.
        self.latest = self._monitor.latest  # type: ignore[method-assign]

    def start(self) -> None:
        """Start its processes."""
        self._monitor.start()

    def sampled(self) -> bool:
        """Whether both monitors have reported."""
        cpu, gpu = (seen.get("localhost") for seen in (self.latest().cpu, self.latest().gpu))
        if cpu is None or gpu is None or cpu.current is None or gpu.current is None:
            return False
        return len(gpu.current.gpus) == GPUS

    def stop(self) -> None:
        """End its processes."""
        self._monitor.stop()

    def manager_pid(self) -> int | None:
        """From its health."""
        return self._monitor.health()["manager"].pid


class Recorded(Pylon):
    """SystemMonitor and Recorder, as a run has them."""

    def load(self) -> None:
        """Import both."""
        from pylon.recorder import Recorder

        super().load()
        self._recorder = Recorder("history.sqlite", kind="loop", monitor=self._monitor)

    def start(self) -> None:
        """Start the recorder with the monitors."""
        self._recorder.start()
        super().start()

    def stop(self) -> None:
        """End the record, then the monitors."""
        self._recorder.stop()
        super().stop()


class PlainThread(Subject):
    """The thread that one writes oneself: psutil and pynvml, a dict for the newest values."""

    def load(self) -> None:
        """Import both."""
        import psutil
        import pynvml

        self._psutil, self._nvml = psutil, pynvml
        self._stop = threading.Event()

    def start(self) -> None:
        """Open the driver and start the thread."""
        self._nvml.nvmlInit()
        count = self._nvml.nvmlDeviceGetCount()
        self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        self._process = self._psutil.Process()
        threading.Thread(target=self._run, daemon=True).start()

    def sampled(self) -> bool:
        """Whether the thread has come round once."""
        return self._newest is not None

    def stop(self) -> None:
        """Ask for the end. No join: it would wait for a driver that hangs."""
        self._stop.set()

    def _run(self) -> None:
        while True:
            self._newest = {**self._host(), "gpus": [self._gpu(handle) for handle in self._handles]}
            if self._stop.wait(INTERVAL_S):
                return

    def _host(self) -> dict[str, Any]:
        return {
            "cpu_percent": self._psutil.cpu_percent(percpu=True),
            "memory": self._psutil.virtual_memory(),
            "swap": self._psutil.swap_memory(),
            "disk": self._psutil.disk_io_counters(),
            "network": self._psutil.net_io_counters(),
            "process_cpu_percent": self._process.cpu_percent(),
            "process_memory": self._process.memory_info(),
        }

    def _gpu(self, handle: object) -> dict[str, Any]:
        nvml = self._nvml
        return {
            "utilization": nvml.nvmlDeviceGetUtilizationRates(handle),
            "memory": nvml.nvmlDeviceGetMemoryInfo(handle),
            "power": nvml.nvmlDeviceGetPowerUsage(handle),
            "temperature": nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU),
        }


class Nvitop(Subject):
    """ResourceMetricCollector as a daemon; its callback keeps the newest values."""

    def load(self) -> None:
        """Import it."""
        import nvitop

        # The stand-in lacks functions that a driver has; nvitop would print a traceback for each.
        logging.getLogger("nvitop").setLevel(logging.CRITICAL)
        self._nvitop = nvitop
        self._stopped = False

    def start(self) -> None:
        """Start its thread."""
        devices = self._nvitop.Device.all()
        collector = self._nvitop.ResourceMetricCollector(
            devices, root_pids={os.getpid()}, interval=INTERVAL_S
        )
        collector.daemonize(self._keep, interval=INTERVAL_S)

    def sampled(self) -> bool:
        """Whether the callback was called."""
        return self._newest is not None

    def stop(self) -> None:
        """Have the callback answer False, which is its way to end the thread."""
        self._stopped = True

    def _keep(self, metrics: dict[str, float]) -> bool:
        self._newest = metrics
        return not self._stopped


class MLflow(Subject):
    """System metrics of a run in a local SQLite store that exists already."""

    readable = False

    def prepare(self) -> None:
        """Make the store, which takes seconds the first time."""
        self._mlflow.set_experiment("benchmark")

    def load(self) -> None:
        """Import it."""
        import mlflow

        self._mlflow = mlflow

    def start(self) -> None:
        """Start a run."""
        self._mlflow.set_experiment("benchmark")
        self._run = self._mlflow.start_run(log_system_metrics=True)

    def sampled(self) -> bool:
        """Whether its thread has values, which are not in the store yet: looked up behind its API."""
        from mlflow.tracking import fluent

        monitor = fluent.run_id_to_system_metrics_monitor.get(self._run.info.run_id)
        return monitor is not None and len(monitor.monitors) > 3 and bool(monitor.monitors[3]._metrics)

    def stop(self) -> None:
        """End the run."""
        self._mlflow.end_run()


class WandB(Subject):
    """A run in offline mode."""

    readable = False

    def load(self) -> None:
        """Import it."""
        import wandb

        self._wandb = wandb

    def start(self) -> None:
        """Start a run that logs system metrics and nothing else, and asks no address on the network."""
        settings = self._wandb.Settings(
            x_stats_sampling_interval=INTERVAL_S,
            # Lets `sampled` look.
            x_stats_buffer_size=2,
            x_stats_coreweave_metadata_base_url="http://127.0.0.1:9",
            console="off",
        )
        self._run = self._wandb.init(project="benchmark", mode="offline", settings=settings)

    def sampled(self) -> bool:
        """Whether its process has values: looked up behind its API."""
        metrics: dict[str, Any] = self._run._system_metrics or {}
        return "cpu" in metrics and f"gpu.{GPUS - 1}.gpu" in metrics

    def stop(self) -> None:
        """End the run."""
        with contextlib.suppress(BrokenPipeError):
            self._run.finish()


@dataclass(frozen=True, slots=True)
class Entry:
    """A subject in the tables.

    Attributes:
        title: in the tables.
        make: the class.
        modules: what must be installed.
        quick: whether `--quick` includes it.
        environment: of its training process.
    """

    title: str
    make: type[Subject]
    modules: tuple[str, ...] = ()
    quick: bool = False
    environment: dict[str, str] = field(default_factory=dict)


_MLFLOW = {
    "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": str(INTERVAL_S),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
}
_WANDB = {
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    **{f"WANDB_{kind}_DIR": "." for kind in ("CONFIG", "CACHE", "DATA")},
}

SUBJECTS = {
    "none": Entry("none", Subject, quick=True),
    "pylon": Entry("Pylon", Pylon, ("psutil", "pynvml"), quick=True),
    "recorded": Entry("Pylon, recorded", Recorded, ("psutil", "pynvml")),
    "plain": Entry("plain thread", PlainThread, ("psutil", "pynvml"), quick=True),
    "nvitop": Entry("nvitop", Nvitop, ("nvitop",)),
    "mlflow": Entry("MLflow", MLflow, ("mlflow",), environment=_MLFLOW),
    "wandb": Entry("W&B offline", WandB, ("wandb",), environment=_WANDB),
}
