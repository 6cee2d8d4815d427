"""CUDA_VISIBLE_DEVICES: which GPUs a run may use, and in which order.

Sources of the rules: CUDA Programming Guide, section 5.2.1.1 (indices as nvidia-smi counts them, so
in PCI bus order; beginnings of UUIDs that name one GPU; the list ends before the first entry that
names no device, such as -1; empty: none; MIG-<UUID>), NVIDIA MIG User Guide, "CUDA Device
Enumeration" (the older MIG-<GPU-UUID>/<GPU instance>/<compute instance>), and CUDA's behaviour beyond
that text as PyTorch found it (torch/cuda/__init__.py, `_parse_visible_devices`): the first entry
decides whether the list is of indices, GPUs or MIG instances, a number may have letters after it, and
a repeated entry leaves no device at all.

CUDA_DEVICE_ORDER is ignored. With its default, FASTEST_FIRST, a machine of different GPUs may
count them differently from nvidia-smi; CUDA_DEVICE_ORDER=PCI_BUS_ID or UUIDs avoid that.
"""

import re
from collections.abc import Mapping, Sequence

_INDEX = re.compile(r"[+-]?\d+")
_GPU = "GPU-"
_MIG = "MIG-"
_OLD_MIG = "MIG-GPU-"


def visible_uuids(
    setting: str | None, uuids: Sequence[str], instances: Mapping[str, str] | None = None
) -> list[str]:
    """The UUIDs of the GPUs that `setting` leaves visible, in its order, each once.

    Args:
        setting: the variable's value; None: not set, all GPUs.
        uuids: all GPUs in the driver's order.
        instances: the GPU of each MIG instance, both as UUIDs; needed if `names_instances` is true.
    """
    if setting is None:
        return list(uuids)
    entries = _entries(setting)
    if _index(entries[0]) is not None:
        indices = [_index(entry) for entry in entries]
        named = [None if i is None or not 0 <= i < len(uuids) else uuids[i] for i in indices]
    elif entries[0].startswith(_GPU):
        named = [_only_match(entry, uuids) if entry.startswith(_GPU) else None for entry in entries]
    elif entries[0].startswith(_MIG):
        named = [_gpu_of_instance(entry, uuids, instances or {}) for entry in entries]
    else:
        return []
    end = named.index(None) if None in named else len(named)
    chosen = [uuid for uuid in named[:end] if uuid is not None]
    # Two instances of one GPU are two devices, so there only the entries themselves count.
    devices: list[str] = entries[:end] if entries[0].startswith(_MIG) else chosen
    return [] if len(set(devices)) < len(devices) else list(dict.fromkeys(chosen))


def hides_all(setting: str | None) -> bool:
    """Whether `setting` leaves no GPU visible on any machine, as '', '-1' or 'NoDevFiles' do."""
    if setting is None:
        return False
    first = _entries(setting)[0]
    index = _index(first)
    return index < 0 if index is not None else not first.startswith((_GPU, _MIG))


def names_instances(setting: str | None) -> bool:
    """Whether `setting` names MIG instances by UUIDs of their own, which do not name the GPU."""
    entries = [] if setting is None else _entries(setting)
    return any(entry.startswith(_MIG) and not entry.startswith(_OLD_MIG) for entry in entries)


def _entries(setting: str) -> list[str]:
    return [part.strip() for part in setting.split(",")]


def _index(entry: str) -> int | None:
    number = _INDEX.match(entry)
    return None if number is None else int(number.group())


def _gpu_of_instance(entry: str, uuids: Sequence[str], instances: Mapping[str, str]) -> str | None:
    if not entry.startswith(_MIG):
        return None
    if entry.startswith(_OLD_MIG):
        return _only_match(entry.removeprefix(_MIG).partition("/")[0], uuids)
    instance = _only_match(entry, list(instances))
    return None if instance is None else instances[instance]


def _only_match(beginning: str, uuids: Sequence[str]) -> str | None:
    matches = [uuid for uuid in uuids if uuid.startswith(beginning)]
    return matches[0] if len(matches) == 1 else None
