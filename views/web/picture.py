"""What is known at one moment, and what of it a browser that knows an earlier moment lacks."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pylon.views.sources.board import Runs
from pylon.views.sources.runs import RunNow
from pylon.views.sources.servers import ServerNow
from pylon.views.web.parts import all_shown, run_part, server_part

# A browser that was away for longer gets the whole picture.
_KNOWN_GONE = 500


@dataclass(frozen=True, slots=True)
class Picture:
    """Servers and runs at one moment. It never changes.

    Attributes:
        number: one more each time, and greater than all of an earlier process: browsers that were
            connected to that one get everything.
        at: Unix time.
        parts: JSON by key: 's' or 'r' and a number, or 'all' for the rest.
        changed: of each key, the number of the picture in which it was new.
        gone: of each key that is no longer there, the number of the picture in which it was gone.
        whole_since: browsers that know an earlier picture than this get everything.
        servers, runs: those of the parts, by number.
        left_out: how many runs there are besides.
        problems: what could not be read of runs, a line for each.
    """

    number: int = 0
    at: float = 0.0
    parts: Mapping[str, str] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    gone: Mapping[str, int] = field(default_factory=dict)
    whole_since: int = 0
    servers: Mapping[int, ServerNow] = field(default_factory=dict)
    runs: Mapping[int, RunNow] = field(default_factory=dict)
    left_out: int = 0
    problems: tuple[str, ...] = ()

    @classmethod
    def first(cls) -> "Picture":
        """One that shows nothing yet."""
        number = round(time.time() * 1000)
        return cls(number, whole_since=number + 1)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been seen yet."""
        return not self.parts

    def frame(self, known: int, *, in_stream: bool = False) -> str:
        """JSON of what is new since the picture `known`; 0, or what is too long ago: everything.

        Args:
            known: number of the picture that the browser has.
            in_stream: whether that came in the same stream: pictures between the two were missed. Those
                while no stream was open were not asked for.
        """
        whole = known < self.whole_since or known > self.number
        since = 0 if whole else known
        parts = ",".join(
            f"{json.dumps(key)}:{text}" for key, text in self.parts.items() if self.changed[key] > since
        )
        gone = [] if whole else [key for key, number in self.gone.items() if number > since]
        missed = self.number - known - 1 if in_stream and not whole else 0
        head = {
            "number": self.number,
            "at": round(self.at, 1),
            "whole": whole,
            "missed": missed,
            "gone": gone,
        }
        return f'{{"head":{json.dumps(head)},"parts":{{{parts}}}}}'


def next_picture(
    before: Picture,
    servers: Sequence[ServerNow],
    runs: Runs,
    numbers: Mapping[str, int],
    notes: Sequence[str] = (),
) -> Picture:
    """The picture after `before`.

    Args:
        before: the newest.
        servers: all, in the order that they have in the page.
        runs: those that are known.
        numbers: of runs, by path.
        notes: what is wrong with the reading itself.
    """
    at = time.time()

    def unix_time(age_s: float | None) -> float | None:
        # To whole seconds: a finer time would differ each time by the duration of this very reading.
        return None if age_s is None else round(at - age_s)

    records: dict[str, Any] = {
        f"s{number}": server_part(number, one, unix_time) for number, one in enumerate(servers)
    }
    by_number = {numbers[str(one.path)]: one for one in runs.runs}
    records |= {f"r{number}": run_part(number, one) for number, one in by_number.items()}
    records["all"] = {
        "servers": list(range(len(servers))),
        "runs": list(by_number),
        "problems": all_shown([*notes, *runs.problems[:20]]),
        "left_out": runs.left_out,
    }
    number = before.number + 1
    parts = {key: json.dumps(one, allow_nan=False, separators=(",", ":")) for key, one in records.items()}
    changed = {
        key: before.changed[key] if before.parts.get(key) == text else number for key, text in parts.items()
    }
    gone = {key: seen for key, seen in before.gone.items() if key not in parts}
    gone |= {key: number for key in before.parts if key not in parts}
    whole_since = before.whole_since
    if len(gone) > _KNOWN_GONE:
        gone, whole_since = {}, number
    known = dict(enumerate(servers)), by_number, runs.left_out, runs.problems
    return Picture(number, at, parts, changed, gone, whole_since, *known)
