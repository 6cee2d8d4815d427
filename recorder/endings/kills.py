"""Why a process was killed by SIGKILL: the signal alone proves nothing about memory."""

from typing import NamedTuple

from pylon.recorder.endings.memory import Level, MemoryCounts
from pylon.recorder.endings.seen import Evidence, Seen

_NEAR = 0.9
_GIB = 2**30


class Killer(NamedTuple):
    """Who has killed, how certain that is, and why.

    Attributes:
        cause: 'cgroup_oom', 'host_oom' or 'own_stop'; None: not known.
        certainty: 'confirmed' or 'likely'.
    """

    cause: str | None
    certainty: str
    evidence: tuple[Evidence, ...]


def killer(seen: Seen) -> Killer:
    """Who has sent SIGKILL, as far as the kernel shows it."""
    own = next((one for one in reversed(seen.stop_requests) if one.own and one.signal == "SIGKILL"), None)
    if own is not None:
        text = f"Pylon itself sent SIGKILL {own.ago_s:.1f} s before the end, on request"
        return Killer("own_stop", "confirmed", (Evidence(text, "stop_request", "SIGKILL"),))
    return _by_log(seen) or _by_own_group(seen) or _by_host(seen) or _by_trend(seen)


def memory_evidence(seen: Seen) -> tuple[Evidence, ...]:
    """How close the run was to a limit at the last look."""
    last = seen.last or seen.before or seen.after
    if last is None:
        return ()
    if last.used_bytes is not None and last.limit_bytes:
        share = last.used_bytes / last.limit_bytes
        text = (
            f"the control group held {last.used_bytes / _GIB:.2f} of {last.limit_bytes / _GIB:.2f} GiB"
            f" ({share:.0%}) "
            "at the last look"
        )
        return (Evidence(text, "memory", round(share, 4)),)
    if last.available_bytes is not None and last.total_bytes:
        free, total = last.available_bytes / _GIB, last.total_bytes / _GIB
        text = f"{free:.2f} of {total:.2f} GiB of the machine were available"
        return (Evidence(text, "memory", round(1 - last.available_bytes / last.total_bytes, 4)),)
    return ()


def _by_log(seen: Seen) -> Killer | None:
    line = next((line for pid, line in seen.killed_in_log or () if pid == seen.pid), None)
    if line is None:
        return None
    cause = "cgroup_oom" if "Memory cgroup" in line else "host_oom"
    return Killer(
        cause,
        "confirmed",
        (Evidence(f"the kernel's log: {line}", "kernel_log", line), *memory_evidence(seen)),
    )


def _by_own_group(seen: Seen) -> Killer | None:
    before, after = _level(seen.before or seen.begun), _level(seen.after)
    if before is None or after is None or before.folder != after.folder:
        return None
    for name, was, now in (
        ("oom_group_kill", before.group_kills, after.group_kills),
        ("oom_kill", before.kills, after.kills),
    ):
        if was is None or now is None or now <= was:
            continue
        text = f"the kernel's count {name} of the run's control group rose from {was} to {now} as it ended"
        evidence: tuple[Evidence, ...] = (
            Evidence(text, "cgroup", {"group": after.folder, "before": was, "after": now}),
        )
        # The kernel's log names others: the run itself was not the one.
        others = [pid for pid, _ in seen.killed_in_log or ()]
        certainty = "likely" if others else "confirmed"
        if others:
            evidence += (Evidence(f"its log names process {others[-1]}, not this one", "kernel_log", others),)
        return Killer(_whose_limit(seen), certainty, (*evidence, *memory_evidence(seen)))
    return None


def _whose_limit(seen: Seen) -> str:
    """A group's count rises whether its own limit or the whole machine's memory was the reason."""
    counts = seen.after
    limited = counts is not None and (counts.limit_bytes is not None or _limit_was_hit(seen))
    return "cgroup_oom" if limited else "host_oom"


def _limit_was_hit(seen: Seen) -> bool:
    if seen.before is None or seen.after is None:
        return False
    hits = {level.folder: level.limit_hits or 0 for level in seen.before.levels}
    return any((level.limit_hits or 0) > hits.get(level.folder, 0) for level in seen.after.levels)


def _by_host(seen: Seen) -> Killer | None:
    before, after = seen.before or seen.begun, seen.after
    if before is None or after is None or before.host_kills is None or after.host_kills is None:
        return None
    if after.host_kills <= before.host_kills:
        return None
    text = f"the machine's count of kills for memory rose from {before.host_kills} to {after.host_kills}"
    evidence = Evidence(text, "host", {"before": before.host_kills, "after": after.host_kills})
    own = _level(after)
    if own is not None and own.kills is not None:
        own_count = Evidence(
            "but not that of the run's own control group: another process was killed", "cgroup", own.kills
        )
        return Killer(None, "confirmed", (evidence, own_count, *memory_evidence(seen)))
    return Killer("host_oom", "likely", (evidence, *memory_evidence(seen)))


def _by_trend(seen: Seen) -> Killer:
    last, after = seen.last or seen.before, seen.after
    near = last is not None and (last.nearness or 0.0) >= _NEAR
    own = _level(after)
    counted = (own is not None and own.kills is not None) or (
        after is not None and after.host_kills is not None
    )
    if near and not counted:
        cause = "cgroup_oom" if last is not None and last.limit_bytes else "host_oom"
        unknown = Evidence("the kernel's counts of kills for memory cannot be read here", "cgroup", None)
        return Killer(cause, "likely", (*memory_evidence(seen), unknown))
    if not counted:
        return Killer(
            None, "confirmed", (Evidence("counts of kills for memory cannot be read here", "cgroup", None),)
        )
    text = "the kernel counted no kill for memory"
    if near:
        text += "; systemd-oomd, earlyoom or kubelet, which kill before the kernel does, may have"
    return Killer(None, "confirmed", (Evidence(text, "cgroup", 0), *memory_evidence(seen)))


def _level(counts: MemoryCounts | None) -> Level | None:
    return None if counts is None else counts.own
