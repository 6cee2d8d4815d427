"""A run that needs more memory than the device has ends with an explanation and the monitor's figures."""

from pathlib import Path

from tests.gpu import runs
from tests.gpu.outcomes import Report, Setting

_SHOWN_CHARACTERS = 600


def run(setting: Setting) -> Report:
    """The part."""
    config, work_dir = runs.configuration(setting.root, "greedy", "greedy")
    done = runs.command(config, setting.device, 0.9 * setting.seconds)
    return judged(done.returncode, done.stderr, setting.device, work_dir)


def judged(code: int, printed: str, device: str, work_dir: Path) -> Report:
    """What the run's end means.

    Args:
        code: its exit code.
        printed: on standard error.
        device: of the run.
        work_dir: of the run.
    """
    report = Report()
    report.details["printed"] = printed[-_SHOWN_CHARACTERS:]
    log = work_dir / "train.log"
    logged = log.read_text(encoding="utf-8") if log.exists() else ""
    report.expect(code == 1, f"exit code {code}, expected 1")
    report.expect("Traceback" not in printed, "the user is shown a traceback")
    expected = ["Out of memory: ", "The monitor's last figures: ", "batch_size"]
    if device == "cuda":
        expected += ["CUDA out of memory", "gpu_memory_used_bytes"]
        report.expect("CUDA memory summary" in logged, "the log has no summary of the allocator")
    for text in expected:
        report.expect(text in printed, f"the message has no {text!r}: {printed[-_SHOWN_CHARACTERS:]}")
    line = next((one for one in printed.splitlines() if "Out of memory: " in one), "no message")
    report.figure = line[line.find("Out of memory") :][:80]
    return report
