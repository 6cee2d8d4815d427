"""Causes and states in words: the first two lines of a report."""

from signal import Signals

CAUSES = {
    "clean": "Finished",
    "exception": "Failed: the program ended with an exception",
    "cuda_oom": "Failed: the memory of a GPU ran out",
    "cgroup_oom": "Killed by the kernel: the memory limit of its control group was reached",
    "host_oom": "Killed by the kernel: the machine's memory ran out",
    "own_stop": "Stopped on request",
    "sigterm": "Stopped by SIGTERM, as schedulers, time limits and `kill` send it",
    "sigint": "Stopped by Ctrl-C (SIGINT)",
    "sigkill": "Killed by SIGKILL; the sender is not known",
    "signal": "Ended by a signal",
    "segfault": "Crashed: invalid memory access (SIGSEGV)",
    "abort": "Crashed: the program aborted itself (SIGABRT)",
    "bus_error": "Crashed: memory could not be provided (SIGBUS)",
    "exit_code": "Failed: the program ended with an exit code other than 0",
    "non_finite": "Failed: the loss or a gradient became NaN or infinite",
    "gpu_lost": "Failed: a GPU was lost",
    "disk_full": "Failed: the disk is full",
    "hang": "Hung: no step was finished any more",
    "reboot": "Ended by a reboot of the machine",
    "recorder_lost": "Ended together with its recorder: the end was not seen",
    "not_observable": "Ended; how is not observable",
}
# What follows the cause in brackets; nothing is added where the words of the cause say it.
CERTAINTIES = {"confirmed": "confirmed", "likely": "likely", "not_observable": "not observable"}
SOURCES = {
    "program": "reported by the program itself",
    "parent": "exit status seen by the parent process",
    "kernel": "exit status reported by the kernel",
    "recorder": "concluded by the recorder",
    "next reader": "concluded now, from what was recorded",
}
STATES = ("running", "finished", "failed", "stopped", "killed", "crashed", "hung", "unknown")
ABSENCES = {
    "starting": "nothing was read yet",
    "unsupported": "not provided by this machine",
    "denied": "not permitted to this user",
    "lost": "the device is gone",
    "hung": "the reading did not end",
    "unreachable": "the reading failed",
    "stale": "the newest reading was too old",
}
VERDICTS = {
    "input_bound": "Input-bound: steps wait for data",
    "throttled": "Throttled",
    "cpu_bound": "CPU-bound",
    "memory_pressure": "Memory pressure",
    "gpu_busy": "GPU-bound: the GPU is busy",
    "gpu_idle": "The GPU is idle between steps",
    "validation_bound": "Validation-bound",
    "checkpoint_bound": "Checkpoint-bound",
    "none_found": "Nothing in particular",
    "not_enough_data": "Not enough data for a verdict",
}


def cause_line(cause: str, certainty: str, exit_code: int | None, signal: int | None) -> str:
    """The first line: what ended the run, and how sure that is."""
    text = CAUSES.get(cause, f"Ended: {cause}")
    details = []
    if cause == "recorder_lost" and certainty == "not_observable":
        return "Nothing more was recorded; whether it still runs is not observable from here."
    if cause == "exit_code" and exit_code is not None:
        early = "" if exit_code else " before it had come to its end"
        text = text.replace("an exit code other than 0", f"exit code {exit_code}{early}")
    elif cause in {"not_observable", "signal"} and signal is not None:
        details.append(_signal_name(signal))
    if cause not in {"clean", "not_observable", "recorder_lost"}:
        details.append(CERTAINTIES.get(certainty, certainty))
    return f"{text} ({', '.join(details)})." if details else f"{text}."


def _signal_name(number: int) -> str:
    try:
        return Signals(number).name
    except ValueError:
        return f"signal {number}"


def verdict_title(name: str) -> str:
    """A verdict's name in words."""
    return VERDICTS.get(name, name.replace("_", " ").capitalize())


def absence_text(reason: str) -> str:
    """Why there is no value."""
    words = ABSENCES.get(reason)
    return f"{words} ({reason})" if words else reason
