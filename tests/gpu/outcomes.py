"""What a part of the check finds, and what it needs to know for that."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

PASSED, FAILED, SKIPPED = "passed", "FAILED", "skipped"


class Skipped(Exception):  # noqa: N818 - no error
    """A part cannot run here, for this reason."""


@dataclass(frozen=True)
class Machine:
    """What torch's CUDA and the driver give here, as a process of its own found it.

    Attributes:
        no_cuda: why there is no CUDA; None if there is.
        uuids, names, total_bytes: of the devices, as torch numbers them.
        torch: its version.
    """

    no_cuda: str | None
    uuids: list[str]
    names: list[str]
    total_bytes: list[int]
    torch: str


@dataclass(frozen=True)
class Setting:
    """How a part is run.

    Attributes:
        device: 'cuda', or 'cpu' to try the parts' own code.
        short: as little as shows that it works.
        seed: the moments of kills follow from it.
        seconds: how long the part may take.
        authors: folder of the authors' code; None: not wanted.
        folder: for what the part writes.
        machine: where it runs.
    """

    device: Literal["cuda", "cpu"]
    short: bool
    seed: int
    seconds: float
    authors: str | None
    folder: str
    machine: Machine

    @property
    def root(self) -> Path:
        """The folder, as a path."""
        return Path(self.folder)

    def to_json(self) -> str:
        """For the part's process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The inverse of `to_json`."""
        content = json.loads(text)
        return cls(**{**content, "machine": Machine(**content["machine"])})


@dataclass
class Report:
    """What a part found.

    Attributes:
        figure: one line of it, for the table.
        failures: what is wrong, each in a sentence; none: the part has passed.
        details: every number, for the JSON file.
    """

    figure: str = ""
    failures: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)

    def expect(self, condition: bool, failure: str) -> bool:
        """Note a failure if the condition is not met; whether it is."""
        if not condition:
            self.failures.append(failure)
        return condition


@dataclass(frozen=True)
class Result:
    """How a part ended.

    Attributes:
        part: its name.
        outcome: passed, FAILED or skipped.
        figure: of the report, or the reason of a skip.
        seconds: it took.
        failures, details: of the report.
    """

    part: str
    outcome: str
    figure: str
    seconds: float
    failures: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
