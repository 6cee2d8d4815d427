"""Kill a training anywhere, and compare: `python -m tests.shutdown.resume --kills 200 --seed S`.

Small trainings with loader workers and augmentation, saved every third step, are each run once as a whole.
Then they are run again and again in turn, and killed at random moments by SIGKILL (one in `--sigterm` by
SIGTERM, which must end them with 75 within `--stop-within` seconds); the same command resumes each time.
The trainings are a segmentation and a stream of rows made for it, and the examples that `pylon new` copies.
Each run that gets to its end is compared with the whole one: losses, scores, weights, optimizer and
generator states, step lines, history, test results, pictures, and which files there are. Equal means
to the bit.

With `--ranks N` the run has N processes, as torchrun starts them, and one of them is struck.

The moments and signals follow from the seed. What a moment meets depends on the machine's load, so a
seed repeats a pressure, not an instruction.

exit codes: 0 no difference, 1 a difference, a wrong exit code or a slow stop, 2 the command line is wrong
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pylon.runners.launch.new import KINDS
from tests.shutdown.compare_runs import differences
from tests.shutdown.launches import Launch, ManyRanks, OneProcess, printed

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_WITHIN_S = 120.0
# What tests/shutdown/resume_subjects.py has a training of.
SUBJECTS = ("segmentation", "stream", *KINDS)
# Of a whole run's time, how late the latest kill comes: most runs are then killed several times.
_REACH = 0.5
# After each kill in a row that came before training, so much later: the start may take most of a short run.
_LATER = 0.25
_EARLY = "before training"


@dataclass
class Tally:
    """What came out so far."""

    kills: int = 0
    runs: int = 0
    places: Counter[str] = field(default_factory=Counter)
    slowest_stop_s: float = 0.0
    found: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.shutdown.resume", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--kills", type=int, default=200, help="how many (200)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="at most so long; None: all kills")
    parser.add_argument(
        "--sigterm", type=int, default=5, help="one kill in so many is a SIGTERM; 0: none (5)"
    )
    parser.add_argument(
        "--stop-within", type=float, default=5.0, metavar="SECONDS",
        help="how long a SIGTERM may take to the process's end (5)",
    )  # fmt: skip
    parser.add_argument(
        "--runner", action="append", default=[], metavar="NAME=VALUE", help="further arguments of the runner"
    )
    parser.add_argument("--ranks", type=int, default=1, help="processes of the run (1)")
    parser.add_argument("--device", default="cpu", help="of the run, as of `pylon train` (cpu)")
    parser.add_argument(
        "--subject", action="append", choices=SUBJECTS, help="what is trained; may be repeated (all in turn)"
    )
    options = parser.parse_args(arguments)
    if options.kills < 1 or options.sigterm < 0 or options.ranks < 1:
        parser.error("--kills and --ranks: expected at least 1; --sigterm: expected 0 or more")
    changes = dict(text.split("=", 1) for text in options.runner)
    with tempfile.TemporaryDirectory(prefix="pylon-resume-") as folder:
        attack = Attack(
            Path(folder), options.seed, sigterm=options.sigterm, stop_within_s=options.stop_within,
            changes=changes, ranks=options.ranks, device=options.device,
            subjects=options.subject or SUBJECTS,
        )  # fmt: skip
        tally = attack.run(options.kills, options.minutes)
    report(tally, options.seed)
    return 1 if tally.found or tally.runs == 0 else 0


class Attack:
    """The whole run, and those that are killed.

    Args:
        folder: for all of them.
        seed: all moments and signals follow from it.
        sigterm: one kill in so many is a SIGTERM; 0: none.
        stop_within_s: how long a SIGTERM may take.
        changes: arguments of the runner, as Python text.
        ranks: processes of the run.
        device: of the run.
        subjects: what is trained, in turn.
    """

    def __init__(
        self,
        folder: Path,
        seed: int,
        *,
        sigterm: int,
        stop_within_s: float,
        changes: dict[str, str],
        ranks: int,
        device: str = "cpu",
        subjects: Sequence[str] = SUBJECTS[:1],
    ) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._sigterm = sigterm
        self._stop_within_s = stop_within_s
        self._ranks = ranks
        self._device = device
        self._subjects = subjects
        self._changes = "".join(f", {name}={value}" for name, value in changes.items())
        self._tally = Tally()
        self._before_training = 0

    def run(self, kills: int, minutes: float | None) -> Tally:
        begun_s = time.monotonic()
        lengths_s: dict[str, float] = {}
        while self._tally.kills < kills and not self._out_of_time(begun_s, minutes):
            subject = self._subjects[self._tally.runs % len(self._subjects)]
            whole, killed = self._folder / f"whole_{subject}", self._folder / f"killed_{self._tally.runs}"
            if subject not in lengths_s:
                lengths_s[subject] = self._length_s(subject, whole)
            over, former = False, self._tally.kills
            while not over and self._tally.kills < kills and not self._out_of_time(begun_s, minutes):
                over = self._strike(subject, killed, lengths_s[subject], self._tally.kills - former)
            if not over:
                self._finish(subject, killed)
            self._tally.runs += 1
            found = differences(whole, killed)
            self._tally.found += [f"run {self._tally.runs}, {subject}: {line}" for line in found]
            done = f"run {self._tally.runs}, {subject}: {self._tally.kills - former} kills"
            say(f"{done}, {self._tally.kills} so far, {len(found)} differences")
            if not killed.exists():
                break  # no launch got as far as its run: no further one will
            shutil.rmtree(killed)
        return self._tally

    def _length_s(self, subject: str, whole: Path) -> float:
        """How long the whole run takes."""
        begun_s = time.monotonic()
        self._finish(subject, whole)
        length_s = time.monotonic() - begun_s
        say(f"the whole run of {subject} takes {length_s:.1f} s")
        return length_s

    def _strike(self, subject: str, work_dir: Path, length_s: float, in_a_row: int) -> bool:
        """Launch the command, kill it at a random moment; whether it got to its end before."""
        number = (
            signal.SIGTERM if self._sigterm and self._random.randrange(self._sigterm) == 0 else signal.SIGKILL
        )
        # A machine under load can need longer to begin than the latest kill leaves it.
        longer = 1 + 0.05 * in_a_row + _LATER * self._before_training
        delay_s = self._random.uniform(0, _REACH * length_s * longer)
        launch = self._launch(subject, work_dir)
        codes = launch.join(delay_s)
        if codes is not None:
            self._expect(codes, {0}, "ended by itself")
            return True
        place = self._place(work_dir)
        self._before_training = self._before_training + 1 if place == _EARLY else 0
        sent_s = time.monotonic()
        launch.strike(number)
        codes = self._ended(launch)
        took_s = time.monotonic() - sent_s
        self._tally.kills += 1
        self._tally.places[f"{number.name} {place}"] += 1
        if number == signal.SIGKILL:
            # It may have come to its end just before; the other ranks of a killed one fail, or are ended.
            others = {1, 75, -signal.SIGTERM} if self._ranks > 1 else set()
            self._expect(codes, {0, -signal.SIGKILL, *others}, place)
            return set(codes) == {0}
        self._tally.slowest_stop_s = max(self._tally.slowest_stop_s, took_s)
        if took_s > self._stop_within_s:
            self._tally.found.append(f"SIGTERM {place}: stopped after {took_s:.1f} s")
        # Before its handlers are there, a process ends by the signal itself; at its very end, it may finish.
        early = {1} if -signal.SIGTERM in codes and self._ranks > 1 else set()
        self._expect(codes, {75, 0, -signal.SIGTERM, *early}, place)
        return set(codes) == {0}

    def _finish(self, subject: str, work_dir: Path) -> None:
        codes = self._ended(self._launch(subject, work_dir))
        self._expect(codes, {0}, "the last launch")
        if any(codes) and (text := printed(self._config(work_dir))):
            self._tally.found.append(f"it printed: {text}")

    def _ended(self, launch: Launch) -> list[int]:
        codes = launch.join(RUN_WITHIN_S)
        if codes is None:
            launch.kill()
            self._tally.found.append(f"a launch did not end within {RUN_WITHIN_S:.0f} s")
        return codes or []

    def _expect(self, seen: list[int], expected: set[int], place: str) -> None:
        if not set(seen) <= expected:
            self._tally.found.append(f"{place}: exit codes {seen}, expected {sorted(expected)}")

    def _launch(self, subject: str, work_dir: Path) -> Launch:
        config = self._config(work_dir)
        config.write_text(
            "from tests.shutdown.resume_subjects import subject_config\n"
            f"config = subject_config({subject!r}, {str(work_dir)!r}{self._changes})\n"
        )
        if self._ranks == 1:
            return OneProcess(config, self._device)
        return ManyRanks(config, self._ranks, self._random, self._device)

    def _config(self, work_dir: Path) -> Path:
        return self._folder / f"{work_dir.name}_config.py"

    def _place(self, work_dir: Path) -> str:
        if (work_dir / "test").exists():
            return "at the end"
        epochs = len(list(work_dir.glob("epoch_*/training_losses.pt")))
        return f"in epoch {epochs}" if (work_dir / "metrics.jsonl").exists() else _EARLY

    def _out_of_time(self, begun_s: float, minutes: float | None) -> bool:
        return minutes is not None and time.monotonic() - begun_s > 60 * minutes


def report(tally: Tally, seed: int) -> None:
    for place, count in sorted(tally.places.items()):
        say(f"  {place:32} {count:5}")
    say(
        f"seed {seed}: {tally.kills} kills, {tally.runs} runs compared, slowest SIGTERM "
        f"{tally.slowest_stop_s:.2f} s, {len(tally.found)} differences"
    )
    for line in tally.found:
        say(f"  {line}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    # Before torch is imported: sums of floats depend on how many threads add them up.
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path.insert(0, str(REPOSITORY))
    import tests.shutdown.resume_subjects  # noqa: F401 - what a launch imports

    sys.exit(main())
