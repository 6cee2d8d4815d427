"""What people and other programs see of servers and runs while they go on. All of it only reads.

sources/   servers and runs as they are now and were lately: the one source of every view
access     who may ask a server of ours
terminal/  `pylon watch` on a whole terminal
web/       `pylon serve`
export/    Prometheus and OpenTelemetry
loggers/   TensorBoard, W&B, MLflow, trackio, fed from a run's record
cli/       the commands
"""

from pylon import require_namespace as _require_namespace

_require_namespace(__name__)
