"""From what is seen of an end to its state, cause and certainty."""

import dataclasses
import signal
from typing import Any

import pytest

from pylon.recorder.endings import ExitStatus, Hang, Judgement, Level, MemoryCounts, Seen, StopRequest, judge

GIB = 2**30
GROUP = Level("/g", kills=2, group_kills=0, limit_hits=3, limit_bytes=8 * GIB)
CALM = MemoryCounts(10.0, (GROUP,), 5, 4 * GIB, 8 * GIB, 20 * GIB, 32 * GIB)
FULL = dataclasses.replace(CALM, monotonic_s=19.0, used_bytes=int(7.9 * GIB))
TRACEBACK = 'noise\nTraceback (most recent call last):\n  File "a.py", line 3, in <module>\n    f()\n'


def killed(before: MemoryCounts | None = CALM, **changes: Any) -> Seen:
    after = changes.pop("after", before)
    return Seen(
        ExitStatus(None, signal.SIGKILL),
        begun=before,
        before=before,
        after=after,
        last=before,
        pid=77,
        **changes,
    )


def counted(kills: int = 2, group_kills: int = 0, host_kills: int = 5, **changes: Any) -> MemoryCounts:
    own = dataclasses.replace(GROUP, kills=kills, group_kills=group_kills)
    return dataclasses.replace(CALM, levels=(own,), host_kills=host_kills, **changes)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Seen(ExitStatus(0, None)), ("finished", "clean", "confirmed", "kernel")),
        (Seen(ExitStatus(0, None, "parent")), ("finished", "clean", "confirmed", "parent")),
        (
            Seen(ExitStatus(0, None), reports_its_end=True, word={"at_exit": True}),
            ("finished", "clean", "confirmed", "kernel"),
        ),
        (Seen(ExitStatus(0, None), reports_its_end=True), ("failed", "exit_code", "confirmed", "kernel")),
        (Seen(ExitStatus(3, None)), ("failed", "exit_code", "confirmed", "kernel")),
        (Seen(ExitStatus(137, None)), ("failed", "exit_code", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 15)), ("stopped", "sigterm", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 2)), ("stopped", "sigint", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 11)), ("crashed", "segfault", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 6)), ("crashed", "abort", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 7)), ("crashed", "bus_error", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 8)), ("crashed", "signal", "confirmed", "kernel")),
        (Seen(ExitStatus(None, 1)), ("killed", "signal", "confirmed", "kernel")),
        (Seen(None), ("unknown", "not_observable", "not_observable", "recorder")),
        (Seen(None, running=True), ("unknown", "not_observable", "not_observable", "recorder")),
        # SIGKILL alone proves nothing about memory, however full that was.
        (killed(), ("killed", "sigkill", "confirmed", "kernel")),
        (killed(FULL), ("killed", "sigkill", "confirmed", "kernel")),
        (killed(after=counted(kills=3)), ("killed", "cgroup_oom", "confirmed", "kernel")),
        (killed(after=counted(group_kills=1)), ("killed", "cgroup_oom", "confirmed", "kernel")),
        # Another process of the machine was killed for memory: the run's own group has no further kill.
        (killed(after=counted(host_kills=6)), ("killed", "sigkill", "confirmed", "kernel")),
        # The log names the process itself.
        (
            killed(killed_in_log=((77, "Memory cgroup out of memory: Killed process 77 (python)"),)),
            ("killed", "cgroup_oom", "confirmed", "kernel"),
        ),
        (
            killed(killed_in_log=((77, "Out of memory: Killed process 77 (python)"),)),
            ("killed", "host_oom", "confirmed", "kernel"),
        ),
        # The group's count rose, but the log names a loader worker of the run.
        (
            killed(after=counted(kills=3), killed_in_log=((78, "Killed process 78 (python)"),)),
            ("killed", "cgroup_oom", "likely", "kernel"),
        ),
        (
            killed(stop_requests=(StopRequest(1.0, "SIGKILL", "parent", own=True),), after=counted(kills=3)),
            ("killed", "own_stop", "confirmed", "kernel"),
        ),
        # Hidden by an exit status that is not observable, the counts still are.
        (
            Seen(None, begun=CALM, before=CALM, after=counted(kills=3), last=FULL),
            ("killed", "cgroup_oom", "likely", "recorder"),
        ),
    ],
)
def test_exit_status_and_counts(seen: Seen, expected: tuple[str, str, str, str]) -> None:
    found = judge(seen)
    assert (found.state, found.cause, found.certainty, found.source) == expected
    assert found.evidence, "each judgement has its evidence"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # No count can be read: how full memory was is all there is, and no proof.
        (MemoryCounts(19.0, (), None, int(7.9 * GIB), 8 * GIB, 20 * GIB, 32 * GIB), ("cgroup_oom", "likely")),
        (MemoryCounts(19.0, (), None, None, None, GIB, 32 * GIB), ("host_oom", "likely")),
        (MemoryCounts(19.0, (), None, None, None, 20 * GIB, 32 * GIB), ("sigkill", "confirmed")),
    ],
)
def test_without_counts_the_trend_is_likely_at_best(counts: MemoryCounts, expected: tuple[str, str]) -> None:
    found = judge(killed(counts))
    assert (found.cause, found.certainty) == expected


def test_a_group_without_any_limit_ran_out_of_the_machines_memory() -> None:
    free = dataclasses.replace(GROUP, limit_bytes=None, limit_hits=None)
    before = MemoryCounts(10.0, (free,), 5, None, None, GIB, 32 * GIB)
    after = dataclasses.replace(before, levels=(dataclasses.replace(free, kills=3),), host_kills=6)
    assert judge(killed(before, after=after)).cause == "host_oom"


def test_the_host_count_alone_is_likely() -> None:
    before = MemoryCounts(10.0, (), 5, None, None, GIB, 32 * GIB)
    found = judge(killed(before, after=dataclasses.replace(before, host_kills=6)))
    assert (found.cause, found.certainty) == ("host_oom", "likely")


@pytest.mark.parametrize(
    ("word", "status", "expected"),
    [
        ({"state": "finished"}, None, ("finished", "clean")),
        ({"state": "finished"}, ExitStatus(None, 11), ("crashed", "segfault")),
        ({"state": "finished"}, ExitStatus(4, None), ("failed", "exit_code")),
        ({"state": "stopped", "signal": "SIGTERM"}, ExitStatus(75, None), ("stopped", "sigterm")),
        ({"state": "stopped", "signal": "SIGUSR1"}, None, ("stopped", "signal")),
        (
            {"state": "failed", "error_type": "ValueError", "error": "x"},
            ExitStatus(1, None),
            ("failed", "exception"),
        ),
        (
            {"state": "failed", "error_type": "OutOfMemoryError", "error": "CUDA out of memory. Tried to"},
            None,
            ("failed", "cuda_oom"),
        ),
        (
            {"state": "failed", "error_type": "OSError", "error": "[Errno 28] No space left on device"},
            None,
            ("failed", "disk_full"),
        ),
        (
            {"state": "failed", "error_type": "TrainingError", "error": "epoch 1, step 2: the loss is nan."},
            None,
            ("failed", "non_finite"),
        ),
        (
            {
                "state": "failed",
                "error_type": "RuntimeError",
                "error": "CUDA error: unspecified launch failure",
            },
            None,
            ("failed", "gpu_lost"),
        ),
        # A command's output, as its parent has it.
        ({"last_lines": TRACEBACK + "KeyError: 'a'"}, ExitStatus(1, None, "parent"), ("failed", "exception")),
        (
            {"last_lines": TRACEBACK + "torch.OutOfMemoryError: CUDA out of memory."},
            ExitStatus(1, None, "parent"),
            ("failed", "cuda_oom"),
        ),
        (
            {"last_lines": TRACEBACK + "KeyboardInterrupt"},
            ExitStatus(130, None, "parent"),
            ("stopped", "sigint"),
        ),
        # It was caught: the program ended well.
        ({"error_type": "ValueError", "error": "x"}, ExitStatus(0, None, "parent"), ("finished", "clean")),
        ({"error_type": "ValueError", "error": "x"}, ExitStatus(1, None, "parent"), ("failed", "exception")),
    ],
)
def test_the_programs_own_word(
    word: dict[str, Any], status: ExitStatus | None, expected: tuple[str, str]
) -> None:
    found = judge(Seen(status, word))
    assert (found.state, found.cause) == expected


def test_a_traceback_is_kept_with_its_last_frame() -> None:
    found = judge(Seen(ExitStatus(1, None, "parent"), {"last_lines": TRACEBACK + "KeyError: 'a'\nbye"}))
    assert found.traceback is not None
    assert found.traceback.splitlines()[-2:] == ["    f()", "KeyError: 'a'"]


def test_a_program_that_handled_the_request_was_stopped() -> None:
    asked = (StopRequest(3.0, "SIGTERM", "program"),)
    assert _words(judge(Seen(ExitStatus(0, None), stop_requests=asked))) == ("stopped", "sigterm")
    assert _words(judge(Seen(ExitStatus(143, None), stop_requests=asked))) == ("stopped", "sigterm")
    # The recorder's own does not show that the program was asked.
    own = (StopRequest(3.0, "SIGTERM", "recorder"),)
    assert _words(judge(Seen(ExitStatus(0, None), stop_requests=own))) == ("finished", "clean")


HANG = Hang(for_s=400.0, limit_s=60.0, step_s=0.2)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_hang_that_was_ended_by_a_signal_is_a_hang(number: int) -> None:
    found = judge(dataclasses.replace(killed(), status=ExitStatus(None, number), hang=HANG))
    assert (found.state, found.cause, found.certainty, found.signal) == ("hung", "hang", "likely", number)


def test_a_hang_before_the_kernel_kills_for_memory_is_not_the_cause() -> None:
    assert judge(killed(after=counted(kills=3), hang=HANG)).cause == "cgroup_oom"


def test_a_lost_gpu_explains_a_failure_and_not_a_kill() -> None:
    failed = Seen(ExitStatus(1, None), lost_gpus=("GPU-1",))
    assert (judge(failed).cause, judge(failed).certainty) == ("gpu_lost", "likely")
    assert judge(dataclasses.replace(killed(), lost_gpus=("GPU-1",))).cause == "sigkill"


def test_an_xid_error_is_evidence_of_a_failure_and_not_of_a_kill() -> None:
    failed = Seen(ExitStatus(1, None), xids=("Xid 79 of GPU GPU-1",))
    assert judge(failed).cause == "exit_code"
    assert any("Xid 79 of GPU GPU-1" in one.text for one in judge(failed).evidence)
    assert not any(
        "Xid" in one.text for one in judge(dataclasses.replace(killed(), xids=("Xid 79",))).evidence
    )


def test_a_full_shared_memory_is_evidence_of_a_bus_error() -> None:
    found = judge(Seen(ExitStatus(None, 7), shared_memory_full=True))
    assert "/dev/shm was full" in [one.text for one in found.evidence]


def test_the_stacks_of_a_crash_are_its_traceback() -> None:
    assert (
        judge(Seen(ExitStatus(None, 11), crash="Fatal Python error: Segmentation fault")).traceback
        is not None
    )


def _words(found: Judgement) -> tuple[str, str]:
    return found.state, found.cause
