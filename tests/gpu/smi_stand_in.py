"""An nvidia-smi for machines without a GPU: prints what the NVML stand-in answers, or what a test wants."""

import sys
from pathlib import Path

UUID = "GPU-00000000-0000-0000-0000-000000000000"
# The stand-in's answer to this call changes with each call otherwise.
STEADY = "value nvmlDeviceGetUtilizationRates 37"
WORDS = {
    "index": "0",
    "uuid": UUID,
    "driver_version": "999.01",
    "name": "Stand-in 0",
    "pci.bus_id": "00000000:01:00.0",
    "utilization.gpu": "37",
    "utilization.memory": "20",
    "memory.used": "1024",
    "memory.total": "81920",
    "memory.reserved": "256",
    "temperature.gpu": "45",
    "temperature.memory": "61",
    "power.draw": "250.50",
    "enforced.power.limit": "700.00",
    "power.limit": "700.00",
    "clocks.sm": "1500",
    "clocks.mem": "2600",
    "clocks.max.sm": "1980",
    "clocks.max.mem": "2619",
    "clocks_throttle_reasons.active": "0x0000000000000004",
    "clocks_event_reasons.active": "0x0000000000000004",
    "fan.speed": "30",
    "ecc.errors.corrected.volatile.total": "3",
    "ecc.errors.uncorrected.volatile.total": "0",
    "persistence_mode": "Enabled",
    "compute_mode": "Default",
    "mig.mode.current": "Disabled",
}
_SCRIPT = """#!{interpreter} -ISs
import sys
words = {words!r}
for argument in sys.argv[1:]:
    if argument.startswith("--query-gpu="):
        names = argument.partition("=")[2].split(",")
        unknown = [name for name in names if name not in words]
        if unknown:
            print(f'Field "{{unknown[0]}}" is not a valid field to query.')
            sys.exit(2)
        print(", ".join(words[name] for name in names))
    if argument == "-L":
        print("GPU 0: Stand-in 0 (UUID: {uuid})")
"""


def install(folder: Path, words: dict[str, str]) -> None:
    """Put a script `nvidia-smi` that prints these words into a folder."""
    script = folder / "nvidia-smi"
    script.write_text(_SCRIPT.format(interpreter=sys.executable, words=words, uuid=UUID), encoding="utf-8")
    script.chmod(0o755)
