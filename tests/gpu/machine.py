"""What this machine has: asked in processes of their own, as one that has used CUDA must not fork runs."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.gpu.outcomes import Machine

REPOSITORY = Path(__file__).resolve().parents[2]
_PROBE = """
import json, torch
from torch import cuda
count = cuda.device_count() if cuda.is_available() else 0
devices = [cuda.get_device_properties(index) for index in range(count)]
uuids = [str(one.uuid) for one in devices]
no_cuda = None if count else "torch finds no device"
if torch.version.cuda is None:
    no_cuda = "this torch is built without it"
print(json.dumps({"no_cuda": no_cuda, "uuids": uuids, "names": [one.name for one in devices],
    "total_bytes": [one.total_memory for one in devices], "torch": torch.__version__}))
"""


def ask_torch(environment: dict[str, str] | None = None) -> Machine:
    """What torch finds with these further environment variables."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE], cwd=REPOSITORY, env={**os.environ, **(environment or {})},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        return Machine(f"torch fails: {done.stderr.strip()[-300:]}", [], [], [], "unknown")
    content = json.loads(done.stdout)
    content["uuids"] = [plain_uuid(one) for one in content["uuids"]]
    return Machine(**content)


def plain_uuid(uuid: str) -> str:
    """A UUID as the driver writes it; torch leaves out the 'GPU-'."""
    return uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"


def no_driver() -> str | None:
    """Why the driver cannot be compared with nvidia-smi; None if it can."""
    try:
        ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        return f"no NVIDIA driver: {error}"
    return None if shutil.which("nvidia-smi") else "no nvidia-smi in PATH"
