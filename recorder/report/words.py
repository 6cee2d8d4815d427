"""Causes and states in words: the first two lines of a report."""

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
ADVICE = {
    "clean": "Nothing to do.",
    "exception": "Read the traceback below; the last line names the error.",
    "cuda_oom": "Lower the batch size, or use gradient accumulation or activation checkpointing.",
    "cgroup_oom": "Ask for more memory, or lower the number of loader workers, prefetching or caching.",
    "host_oom": "See who else used the memory; lower the number of loader workers, prefetching or caching.",
    "own_stop": "Repeat the command to resume.",
    "sigterm": "See the scheduler's log for its reason; repeat the command to resume.",
    "sigint": "Repeat the command to resume.",
    "sigkill": "Ask what ends processes here: a person, a scheduler, a memory monitor or a time limit.",
    "segfault": "Read the stack below if there is one; suspect native extensions, the newest first.",
    "abort": "Read the last lines of standard error: the library that aborted prints its reason there.",
    "bus_error": "See if /dev/shm is full: give it more room, or use fewer loader workers.",
    "exit_code": "Read the last lines of standard error; the program chose this exit code itself.",
    "non_finite": "Lower the learning rate or clip gradients, and look at the batch of that step.",
    "gpu_lost": "See the kernel log for Xid errors; the GPU may need a reset or a reboot.",
    "disk_full": "Free disk space and repeat the command.",
    "hang": "Read the stacks below: the last lines show what each thread waits for.",
    "reboot": "See the machine's log for the reason; repeat the command to resume.",
    "recorder_lost": "Suspect what ends whole jobs: the scheduler, a memory limit, a reboot.",
    "not_observable": "Start it with `pylon run -- COMMAND` to learn the exit status.",
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
STATES = ("finished", "failed", "stopped", "killed", "crashed", "hung", "unknown", "running")
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
    "gpu_bound": "GPU-bound: the GPU is busy",
    "gpu_busy": "GPU-bound: the GPU is busy",
    "gpu_idle": "The GPU is idle between steps",
    "validation_bound": "Validation-bound",
    "checkpoint_bound": "Checkpoint-bound",
    "not_enough_data": "Not enough data for a verdict",
}


def cause_line(cause: str, certainty: str, exit_code: int | None, signal: int | None) -> str:
    """The first line: what ended the run, and how sure that is."""
    text = CAUSES.get(cause, f"Ended: {cause}")
    details = []
    if cause == "exit_code" and exit_code is not None:
        text = text.replace("an exit code other than 0", f"exit code {exit_code}")
    elif cause == "not_observable" and signal is not None:
        details.append(f"signal {signal}")
    if cause not in {"clean", "not_observable", "recorder_lost"}:
        details.append(CERTAINTIES.get(certainty, certainty))
    return f"{text} ({', '.join(details)})." if details else f"{text}."


def verdict_title(name: str) -> str:
    """A verdict's name in words."""
    return VERDICTS.get(name, name.replace("_", " ").capitalize())


def absence_text(reason: str) -> str:
    """Why there is no value."""
    words = ABSENCES.get(reason)
    return f"{words} ({reason})" if words else reason
