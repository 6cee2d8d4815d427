"""CUDA_VISIBLE_DEVICES: which GPUs a run may use, and in which order."""

from collections.abc import Sequence


def visible_uuids(setting: str | None, uuids: Sequence[str]) -> list[str]:
    """The UUIDs of the GPUs that `setting` leaves visible, in its order.

    CUDA's own rule (CUDA C++ Programming Guide, environment variables): entries are indices or
    beginnings of UUIDs, and the list ends before the first entry that names no device. A MIG
    entry names an instance; its GPU is shown where the entry holds the GPU's UUID.

    Args:
        setting: the variable's value; None where it is not set: all GPUs.
        uuids: all GPUs in the driver's order.
    """
    if setting is None:
        return list(uuids)
    chosen: list[str] = []
    for entry in (part.strip() for part in setting.split(",")):
        uuid = _named(entry, uuids)
        if uuid is None:
            break
        if uuid not in chosen:
            chosen.append(uuid)
    return chosen


def _named(entry: str, uuids: Sequence[str]) -> str | None:
    if entry.isdigit():
        return uuids[int(entry)] if int(entry) < len(uuids) else None
    if entry.startswith("MIG-GPU-"):
        entry = entry.removeprefix("MIG-").partition("/")[0]
    matches = [uuid for uuid in uuids if entry.startswith("GPU-") and uuid.startswith(entry)]
    return matches[0] if len(matches) == 1 else None
