"""From what is known of an end to its state, cause and certainty. A guess is never given as an answer.

the program's own word ── else ──> exit status ── else ──> counts of the kernel ── else ──> not observable
"""

import dataclasses
import signal
from collections.abc import Mapping
from typing import Any

from pylon.recorder.endings.exceptions import cause_of, traceback_in
from pylon.recorder.endings.kills import killer, memory_evidence
from pylon.recorder.endings.seen import Evidence, Judgement, Seen

_CRASHES: dict[int, str] = {
    signal.SIGSEGV: "segfault",
    signal.SIGABRT: "abort",
    signal.SIGBUS: "bus_error",
    **dict.fromkeys((signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP), "signal"),
}
_ASKED: dict[int, str] = {signal.SIGTERM: "sigterm", signal.SIGINT: "sigint"}
_STATES = frozenset({"finished", "failed", "stopped", "killed", "crashed", "hung", "unknown"})
_SHELL_OFFSET = 128
# A stop request that long before the end may still be the reason: schedulers give half a minute, or more.
_ASKED_WITHIN_S = 120.0
_GPU_CAUSES = frozenset({"exception", "abort", "segfault", "exit_code"})


def judge(seen: Seen) -> Judgement:
    """How a launch ended."""
    judgement = _judged(seen)
    if seen.lost_gpus and judgement.cause in _GPU_CAUSES:
        text = f"the driver had lost the GPU {', '.join(seen.lost_gpus)} shortly before"
        lost = Evidence(text, "gpu", list(seen.lost_gpus))
        judgement = dataclasses.replace(judgement, cause="gpu_lost", certainty="likely").with_evidence(lost)
    if seen.xids and judgement.cause in {*_GPU_CAUSES, "gpu_lost", "hang"}:
        text = f"the driver had reported {', '.join(seen.xids)} shortly before"
        judgement = judgement.with_evidence(Evidence(text, "gpu", list(seen.xids)))
    if seen.crash and judgement.state in {"crashed", "killed"} and judgement.traceback is None:
        judgement = dataclasses.replace(judgement, traceback=seen.crash)
    if seen.supervisor_ended:
        text = "the monitors' supervisor was ended too; the recorder watched the end alone"
        judgement = judgement.with_evidence(Evidence(text, "supervisor", True))
    return judgement


def _judged(seen: Seen) -> Judgement:
    word = seen.word or {}
    state = word.get("state")
    if state in _STATES and not _contradicted(seen, state):
        return _by_word(seen, word, str(state))
    if seen.status is None:
        return _without_status(seen)
    if seen.status.signal is None:
        return _by_exit_code(seen, seen.status.code or 0, seen.status.source)
    return _by_signal(seen, seen.status.signal, seen.status.source)


def _contradicted(seen: Seen, state: str) -> bool:
    """Whether the process ended otherwise after its word, such as in its very last moments."""
    if seen.status is None or state not in {"finished", "unknown"}:
        return False
    return seen.status.signal is not None or bool(seen.status.code)


def _by_word(seen: Seen, word: Mapping[str, Any], state: str) -> Judgement:
    kind, text = str(word.get("error_type") or ""), str(word.get("error") or "")
    requested = _text(word, "signal")
    if isinstance(word.get("cause"), str):
        cause = str(word["cause"])
    elif state == "finished":
        cause = "clean"
    elif state == "stopped":
        cause = {"SIGTERM": "sigterm", "SIGINT": "sigint"}.get(
            requested or "", "signal" if requested else "own_stop"
        )
    else:
        cause = cause_of(kind, text)
    said = f"{kind}: {text}".strip(": ") or state
    evidence = [
        Evidence(f"the program reported its end: {said.splitlines()[0][:300]}", "program", said[:2000])
    ]
    if requested:
        evidence.append(Evidence(f"it was asked to stop by {requested}", "stop_request", requested))
    else:
        evidence += _asked(seen)
    evidence += _full_disk(seen) if cause == "exception" else []
    status = seen.status
    return Judgement(
        state,
        cause,
        "confirmed",
        "program",
        word.get("exit_code") if status is None else status.code,
        None if status is None else status.signal,
        tuple(evidence),
        _text(word, "traceback"),
        _text(word, "last_lines"),
    )


def _by_exit_code(seen: Seen, code: int, source: str) -> Judgement:
    lines = _text(seen.word or {}, "last_lines")
    evidence = [Evidence(f"it exited with code {code}", "exit_status", code), *_asked(seen)]
    base = Judgement("failed", "exit_code", "confirmed", source, code, None, tuple(evidence), None, lines)
    if code == 0:
        asked = _newest_request(seen)
        if asked is not None:
            return dataclasses.replace(base, state="stopped", cause=asked)
        if seen.reports_its_end and not (seen.word or {}).get("at_exit"):
            text = "it had not come to its end: os._exit, or the exit of a library, leaves without that"
            return base.with_evidence(Evidence(text, "program", None))
        return dataclasses.replace(base, state="finished", cause="clean")
    found = _raised(seen)
    if found is not None:
        shown, kind, text = found
        raised = Evidence(f"its error output ends with {kind}: {text[:300]}", "error_output", kind)
        state = "stopped" if kind == "KeyboardInterrupt" else "failed"
        cause = cause_of(kind, text)
        return dataclasses.replace(base, state=state, cause=cause, traceback=shown).with_evidence(raised)
    if code > _SHELL_OFFSET and (name := _name(code - _SHELL_OFFSET)) is not None:
        text = (
            f"a shell reports a command that {name} has ended with this code, but a program may choose it too"
        )
        base = base.with_evidence(Evidence(text, "exit_status", name))
        if (asked := _newest_request(seen)) is not None and name in {"SIGTERM", "SIGINT"}:
            return dataclasses.replace(base, state="stopped", cause=asked)
    return base.with_evidence(*_full_disk(seen))


def _raised(seen: Seen) -> tuple[str | None, str, str] | None:
    """The exception that has ended it, by its error output or by its own word."""
    word = seen.word or {}
    if (found := traceback_in(_text(word, "last_lines") or "")) is not None:
        return found
    kind = _text(word, "error_type")
    return None if kind is None else (_text(word, "traceback"), kind, _text(word, "error") or "")


def _by_signal(seen: Seen, number: int, source: str) -> Judgement:
    name = _name(number) or f"signal {number}"
    evidence = (Evidence(f"it was ended by {name}", "exit_status", name), *_asked(seen))
    lines = _text(seen.word or {}, "last_lines")
    base = Judgement("killed", "signal", "confirmed", source, None, number, evidence, None, lines)
    if number in _CRASHES:
        return _crashed(seen, base, number)
    if seen.hang is not None:
        text = (
            f"it had taken no step for {seen.hang.for_s:.0f} s (a step took {seen.hang.step_s:.3g} s; "
            f"{seen.hang.limit_s:.0f} s are too long)"
        )
        hung = Evidence(text, "hang", round(seen.hang.for_s, 1))
        if number != signal.SIGKILL or killer(seen).cause is None:
            # A long pause that the program does not mark looks the same.
            return dataclasses.replace(base, state="hung", cause="hang", certainty="likely").with_evidence(
                hung
            )
        base = base.with_evidence(hung)
    if number == signal.SIGKILL:
        by = killer(seen)
        base = base.with_evidence(*by.evidence)
        if by.cause is not None:
            return dataclasses.replace(base, cause=by.cause, certainty=by.certainty)
        unknown = Evidence("who sent SIGKILL is not known", "sender", None)
        return dataclasses.replace(base, cause="sigkill").with_evidence(unknown)
    asked = _ASKED.get(number)
    return base if asked is None else dataclasses.replace(base, state="stopped", cause=asked)


def _crashed(seen: Seen, base: Judgement, number: int) -> Judgement:
    crashed = dataclasses.replace(base, state="crashed", cause=_CRASHES[number])
    if number == signal.SIGBUS and seen.shared_memory_full:
        crashed = crashed.with_evidence(Evidence("/dev/shm was full", "shared_memory", True))
    return crashed.with_evidence(*_full_disk(seen))


def _without_status(seen: Seen) -> Judgement:
    unknown = Judgement("unknown", "not_observable", "not_observable", "recorder", None, None, _asked(seen))
    if seen.running:
        text = "the recording was ended while the program ran on"
        return unknown.with_evidence(Evidence(text, "exit_status", None))
    text = "the process has ended; this system does not show how to a process that is not its parent"
    unknown = unknown.with_evidence(Evidence(text, "exit_status", None))
    by = killer(seen)
    if by.cause in {"cgroup_oom", "host_oom"} and by.certainty == "confirmed":
        # Something of its group was killed in this moment, and it has ended.
        in_log = any(one.kind == "kernel_log" for one in by.evidence)
        certainty = "confirmed" if in_log else "likely"
        return dataclasses.replace(
            unknown, state="killed", cause=by.cause, certainty=certainty
        ).with_evidence(*by.evidence)
    if seen.hang is not None:
        hung = Evidence(
            f"it had taken no step for {seen.hang.for_s:.0f} s", "hang", round(seen.hang.for_s, 1)
        )
        unknown = unknown.with_evidence(hung)
    return unknown.with_evidence(*memory_evidence(seen), *_full_disk(seen))


def _asked(seen: Seen) -> tuple[Evidence, ...]:
    return tuple(
        Evidence(_request_text(one.signal, one.by, one.ago_s), "stop_request", one.signal)
        for one in seen.stop_requests
        if one.ago_s <= _ASKED_WITHIN_S
    )


def _request_text(name: str | None, by: str, ago_s: float) -> str:
    what = name or "a request to stop"
    if by == "recorder":
        return f"the recorder itself got {what} {ago_s:.1f} s before: the whole job was asked to end"
    return f"{what} had come {ago_s:.1f} s before"


def _newest_request(seen: Seen) -> str | None:
    """The cause that the newest stop request is, if it came recently."""
    recent = [one for one in seen.stop_requests if one.ago_s <= _ASKED_WITHIN_S and one.by != "recorder"]
    if not recent:
        return None
    if recent[-1].own:
        return "own_stop"
    return {"SIGTERM": "sigterm", "SIGINT": "sigint"}.get(recent[-1].signal or "", "signal")


def _full_disk(seen: Seen) -> list[Evidence]:
    return [Evidence("the disk of the record was full", "disk", True)] if seen.disk_full else []


def _name(number: int) -> str | None:
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _text(word: Mapping[str, Any], name: str) -> str | None:
    value = word.get(name)
    return value if isinstance(value, str) and value else None
