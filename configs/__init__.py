"""Configurations: shared recipes in common/, one file per run in benchmarks/, files to copy in examples/."""

from pylon import require_namespace as _require_namespace

_require_namespace(__name__)
