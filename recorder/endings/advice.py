"""What to do after an end, by its cause."""

_RESUME = "the same command resumes a run that saves checkpoints."

_ADVICE = {
    "clean": "Nothing to do.",
    "exception": f"Read the traceback's last frame; {_RESUME}",
    "cuda_oom": (
        "Use a smaller batch, accumulate gradients, or take a GPU with more free memory;"
        " see who else uses it."
    ),
    "cgroup_oom": (
        "Give the job more memory (the limit of its control group), or use fewer loader"
        " workers or a smaller batch."
    ),
    "host_oom": (
        "Use fewer loader workers, a smaller batch or a machine with more memory; see what else runs there."
    ),
    "own_stop": "It was ended on request; start it again when you like.",
    "sigterm": "Ask the scheduler: preemption, a time limit and a drained node end programs in this way.",
    "sigint": f"It was interrupted with Ctrl-C; {_RESUME}",
    "sigkill": (
        "Look into the logs of the scheduler, the container runtime, systemd-oomd or"
        " earlyoom at that time, and ask"
        " who else may end processes there."
    ),
    "signal": (
        "Look for what sends this signal: a time limit of the batch system, a closed"
        " terminal, a limit of ulimit. SIGPIPE comes from a write to a pipe whose reader has ended."
    ),
    "segfault": (
        "A fault in native code: look at the stacks, and update the driver and the packages with native code."
    ),
    "abort": "Native code has given up, mostly after a message in the error output: read its last lines.",
    "bus_error": (
        "Give the container a larger /dev/shm (--shm-size, or an emptyDir in memory), or"
        " use fewer loader workers."
    ),
    "exit_code": "The program chose this exit code itself: read the last lines of its output.",
    "non_finite": "Lower the learning rate, clip gradients, or look at the batch of that step.",
    "gpu_lost": "Look for Xid messages in the kernel's log; reset or replace the GPU, or use another one.",
    "disk_full": "Make room on that disk, then repeat the command.",
    "hang": "Look at the stacks that were kept: where each thread waits, and which rank is missing.",
    "reboot": f"Ask why the machine restarted; {_RESUME}",
    "recorder_lost": (
        "All processes ended in one moment: the machine, the container, or the"
        " scheduler's whole job. Look into the"
        " scheduler's log at that time."
    ),
    "not_observable": (
        "This kernel does not show how a process has ended (Linux 6.15 does). `pylon run"
        " -- COMMAND` always sees"
        " it."
    ),
}


def advice(cause: str) -> str:
    """What to do after an end of this cause; empty if nothing is known."""
    return _ADVICE.get(cause, "")
