"""Random shutdowns: `python -m tests.shutdown.stress --minutes N --seed S`.

Each draws a training process with monitors beside it, somebody who is hit, a signal, a moment, a
driver and an ending, all from the seed, and looks at what is left: processes, exit code, standard
error, the last good sample. The table at the end counts; a finding names the command that repeats it.

exit codes: 0 no finding, 1 findings, 2 the command line is wrong
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from tests.shutdown.cells import Blow, Outcome, Victim, random_cell, run_cell

Done = tuple[int, Outcome]


def main() -> int:
    options = _parser().parse_args()
    if options.only is not None:
        outcomes = [shutdown(options.seed, options.only)]
    else:
        outcomes = []
        for number, (index, outcome) in enumerate(shutdowns(options), start=1):
            outcomes.append((index, outcome))
            if outcome.findings or number % 20 == 0:
                say(f"{number} shutdowns, {sum(bool(one.findings) for _, one in outcomes)} with findings")
    report(options.seed, outcomes)
    return 1 if any(outcome.findings for _, outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.stress", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--minutes", type=float, default=2.0, help="how long to go on drawing (2)")
    parser.add_argument("--shutdowns", type=int, default=None, help="at most so many")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=3, help="how many at the same time (3)")
    parser.add_argument("--only", type=int, default=None, metavar="N", help="repeat draw N alone")
    return parser


def shutdown(seed: int, index: int) -> Done:
    """Draw `index` of `seed`: always the same cell."""
    cell = random_cell(random.Random(f"{seed}:{index}"))
    with tempfile.TemporaryDirectory(prefix="pylon-stress-") as folder:
        return index, run_cell(cell, Path(folder))


def shutdowns(options: argparse.Namespace) -> Iterator[Done]:
    """Draws as they end, `options.jobs` under way at a time, until the time or the number is reached."""
    until_s = time.monotonic() + 60 * options.minutes
    limit = float("inf") if options.shutdowns is None else options.shutdowns
    index = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        running: set[Future[Done]] = set()
        while True:
            while len(running) < options.jobs and index < limit and time.monotonic() < until_s:
                running.add(pool.submit(shutdown, options.seed, index))
                index += 1
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ended)


def report(seed: int, outcomes: list[Done]) -> None:
    """The table of who was hit by what, and each finding with the command that repeats it."""
    drawn = Counter((outcome.cell.victim, outcome.cell.blow) for _, outcome in outcomes)
    found = Counter((outcome.cell.victim, outcome.cell.blow) for _, outcome in outcomes if outcome.findings)
    say("\nshutdowns (with findings)")
    say(" " * 12 + "".join(f"{blow.value:>18}" for blow in Blow))
    for victim in Victim:
        counts = "".join(f"{f'{drawn[victim, blow]} ({found[victim, blow]})':>18}" for blow in Blow)
        say(f"{victim.value:12}{counts}")
    ends = sorted(outcome.end_s for _, outcome in outcomes)
    hit = sum(outcome.hit for _, outcome in outcomes)
    if ends:
        say(f"{len(outcomes)} shutdowns, {hit} hit their victim alive, {sum(found.values())} with findings")
        say(f"time to end after the last step: median {ends[len(ends) // 2]:.2f} s, longest {ends[-1]:.2f} s")
    for index, outcome in outcomes:
        if outcome.findings:
            say(f"\n{outcome.cell}")
            for finding in outcome.findings:
                say(f"  {finding}")
            say(f"  repeat: python -m tests.shutdown.stress --seed {seed} --only {index}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
