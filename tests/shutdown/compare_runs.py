"""Two run directories, number by number: all that a run computes, nothing that only tells the time."""

import json
from pathlib import Path
from typing import Any

import torch

_TIMES = frozenset(
    {"time_s", "training_time_s", "validation_time_s", "step_time_s", "monitor", "started_at", "ended_at"}
)
# What tells when, how often and where a run was launched.
_OF_THE_LAUNCH = frozenset({"train.log", "environment.json", "config.json", "curves.png", ".lock"})
# What was measured, and when; its `-wal`, `.lock` and so on.
_RECORD = "history.sqlite"


def differences(expected: Path, found: Path) -> list[str]:
    """What differs between two finished runs of one configuration; nothing is compared within a tolerance."""
    one, other = numbers(expected), numbers(found)
    result = [f"{name}: missing" for name in one.keys() - other.keys()]
    result += [f"{name}: left over" for name in other.keys() - one.keys()]
    for name in sorted(one.keys() & other.keys()):
        result += [f"{name}: {place}" for place in unequal(one[name], other[name])]
    return sorted(result)


def numbers(root: Path) -> dict[str, Any]:
    """By file, what it holds. Manifests vouch for times too, so only their presence counts."""
    result: dict[str, Any] = {}
    for path in root.rglob("*"):
        name = str(path.relative_to(root))
        if path.is_dir() or name in _OF_THE_LAUNCH or name.startswith(_RECORD):
            continue
        if path.name.endswith(".manifest.json"):
            result[name] = None
        elif path.suffix == ".json":
            result[name] = json.loads(path.read_text())
        elif path.suffix == ".jsonl":
            result[name] = [json.loads(line) for line in path.read_text().splitlines()]
        elif path.suffix == ".pt":
            result[name] = torch.load(path, map_location="cpu", weights_only=True)
        else:
            result[name] = path.read_bytes()
    return result


def unequal(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two values differ, to the bit."""
    if type(one) is not type(other):
        return [f"{place or '.'}: {type(one).__name__} and {type(other).__name__}"]
    if isinstance(one, dict):
        keys = [key for key in one | other if key not in _TIMES]
        lone = [f"{place}.{key}: on one side only" for key in keys if (key in one) != (key in other)]
        both = [key for key in keys if key in one and key in other]
        return lone + [line for key in both for line in unequal(one[key], other[key], f"{place}.{key}")]
    if isinstance(one, list | tuple):
        if len(one) != len(other):
            return [f"{place or '.'}: {len(one)} and {len(other)} entries"]
        pairs = enumerate(zip(one, other, strict=True))
        return [line for number, pair in pairs for line in unequal(*pair, f"{place}.{number}")]
    same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
    return [] if same else [f"{place or '.'}: differs"]
