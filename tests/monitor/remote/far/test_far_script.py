"""The far script under each shell: what it tells, and that nothing of it is left when we are gone."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pylon.monitor.remote.far import FAR_COMMAND, HEARTBEAT, Tier, far_script
from pylon.monitor.status import Absence
from pylon.recorder.channel import start_ticks
from tests.faults.harness import wait_until
from tests.monitor.remote.far.far_shell import SHELLS, FarShell, script_with

pytestmark = pytest.mark.ci

HERE = Path(__file__).parent
every_shell = pytest.mark.parametrize("shell", SHELLS)


@every_shell
def test_reports_what_a_local_reader_would(shell) -> None:
    with FarShell(shell) as far:
        far.status(Tier.SLOW)
        time.sleep(0.3)
        status = far.status()
    sample = status.cpu.sample
    assert len(sample.core_percent) == os.cpu_count()
    assert 0 <= sample.cpu_percent <= 100
    assert 0 < sample.memory_used_bytes < sample.memory_total_bytes
    assert sample.load_1m >= 0
    assert status.hostname == os.uname().nodename
    assert far.statuses._system["uid"] == str(os.getuid())
    assert status.kernel.split()[:2] == ["Linux", os.uname().release]
    assert abs(status.clock_offset_s) < 5
    assert status.far_uptime_s > 0
    assert sample.absent["run"] is Absence.UNSUPPORTED
    assert status.gpu.absence is Absence.UNSUPPORTED


@every_shell
def test_a_fast_tick_starts_no_process(shell, tmp_path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("needs strace to count forks")
    with FarShell(shell) as far:
        far.frame(Tier.SLOW)
        log = tmp_path / "forks"
        pids = [word for pid in far.processes() for word in ("-p", str(pid))]
        calls = "trace=clone,clone3,fork,vfork"
        tracer = subprocess.Popen(
            ["strace", "-f", "-qq", "-e", calls, "-o", log, *pids], stderr=subprocess.PIPE
        )
        time.sleep(0.5)
        if tracer.poll() is not None:
            pytest.skip(f"strace may not trace here: {tracer.stderr.read()!r}")
        for _ in range(5):
            far.frame()
        tracer.terminate()
        tracer.communicate(timeout=10)
    assert [line for line in log.read_text().splitlines() if "SIG" not in line and "exit" not in line] == []


@every_shell
@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"memory.current": "1000", "memory.stat": "anon 5\ninactive_file 300\nslab 9"}, 700),
        (
            {
                "memory/memory.limit_in_bytes": "4000",
                "memory/memory.usage_in_bytes": "1000",
                "memory/memory.stat": "cache 1\ninactive_file 2\ntotal_inactive_file 400\ntotal_rss 5",
            },
            600,
        ),
        ({"memory.current": "1000"}, Absence.UNSUPPORTED),
    ],
)
def test_a_container_has_its_working_set(shell, files, wanted, tmp_path) -> None:
    for name, text in files.items():
        path = tmp_path / "fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    with FarShell(shell, script=script_with(SYS=tmp_path)) as far:
        group = far.status(Tier.SLOW).cpu.sample.cgroup
        again = far.status().cpu.sample.cgroup
    for one in (group, again):
        assert one.absent.get("memory_working_set_bytes", one.memory_working_set_bytes) == wanted


@every_shell
def test_the_busiest_processes_are_listed(shell) -> None:
    script = script_with(SLOW_S=1, TOP_SHARE=0)
    with (
        FarShell(shell, script=script) as far,
        subprocess.Popen([shutil.which("sh"), "-c", "while :; do :; done"]) as busy,
    ):
        try:
            far.status(Tier.SLOW, Tier.PROCESSES)

            def found(status) -> bool:
                return any(
                    one.pid == busy.pid and one.cpu_percent for one in status.cpu.sample.top_processes or ()
                )

            sample = far.status_when(found, within_s=20, gpu_interval_ms=0).cpu.sample
        finally:
            busy.kill()
    by_pid = {one.pid: one for one in sample.top_processes}
    assert 1 < by_pid[busy.pid].cpu_percent < 120
    assert by_pid[busy.pid].rss_bytes > 0
    assert len(sample.top_processes) <= 10
    assert not any(one.of_run for one in sample.top_processes)


@every_shell
def test_a_line_break_in_a_process_name_hides_no_process(shell) -> None:
    renamed = (
        "import ctypes, sys; ctypes.CDLL(None).prctl(15, b'two\\n) R 1', 0, 0, 0); print(flush=True); input()"
    )
    with (
        subprocess.Popen(
            [sys.executable, "-c", renamed], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process,
        FarShell(shell, script=script_with(SLOW_S=1, MOST_TOP=100000)) as far,
    ):
        process.stdout.readline()
        assert "two\n" in Path(f"/proc/{process.pid}/stat").read_text()
        far.request(Tier.SLOW, Tier.PROCESSES)
        far.read()
        rows = far.frame_with("top").sections["top"]
        process.stdin.close()
    names = {row.split("\t")[0]: row.split("\t")[5] for row in rows[1:]}
    assert names[str(process.pid)] == "two?) R 1"
    assert str(os.getpid()) in names


@every_shell
def test_a_card_behind_another_is_not_physical(shell, tmp_path) -> None:
    for name in ("eth0/device", "enP1/device", "enP1/master/device", "lo"):
        (tmp_path / "class/net" / name).mkdir(parents=True)
    with FarShell(shell, script=script_with(SYS=tmp_path)) as far:
        devices = far.frame(Tier.SLOW).sections["devices"]
    assert set(devices) == {"net eth0 1", "net enP1 0", "net lo 0"}


def test_a_list_of_processes_whose_maker_ends_starts_again() -> None:
    # The first maker ends as a shell does that meets a wrong number.
    script = script_with(SLOW_S=1).replace(
        b"while read -r key value unit", b'[ -n "$retry" ] || exit 2\nwhile read -r key value unit', 1
    )
    script = script.replace(b'("$@")\n', b'("$@")\nretry=1\n', 1)
    assert b"retry=1" in script
    assert b"exit 2\n" in script
    with FarShell(script=script) as far:
        far.request(Tier.SLOW, Tier.PROCESSES)
        far.read()
        assert len(far.frame_with("top").sections["top"]) > 1


@every_shell
def test_end_of_input_leaves_nothing(shell) -> None:
    with FarShell(shell, path=HERE) as far:
        far.status_when(lambda status: status.gpu.gpus)
        assert "nvidia-smi" in far.processes().values()
        far.process.stdin.close()
        assert far.wait_until_gone(5) < 4


@every_shell
def test_a_failed_write_leaves_nothing(shell) -> None:
    with FarShell(shell, path=HERE) as far:
        far.status_when(lambda status: status.gpu.gpus)
        far.process.stdout.close()
        far.request()
        far.wait_until_gone(5)


@every_shell
def test_without_a_heartbeat_nothing_is_left(shell) -> None:
    with FarShell(shell, script=script_with(PATIENCE_S=2), path=HERE) as far:
        far.status_when(lambda status: status.gpu.gpus)
        far.wait_until_gone(8)


def test_a_heartbeat_keeps_it_alive() -> None:
    with FarShell(script=script_with(PATIENCE_S=2)) as far:
        for _ in range(6):
            time.sleep(0.5)
            far.send(HEARTBEAT)
        far.frame()


def test_who_asks_and_does_not_read_is_left() -> None:
    with FarShell(script=script_with(PATIENCE_S=2)) as far:
        for _ in range(200):
            far.request()
        far.wait_until_gone(20)


@every_shell
@pytest.mark.parametrize("victim", ["first", "all but one"])
def test_killed_in_part_the_rest_ends(shell, victim) -> None:
    with FarShell(shell, script=script_with(PATIENCE_S=4), path=HERE) as far:
        far.status_when(lambda status: status.gpu.gpus)
        own = sorted(
            pid for pid, name in far.processes().items() if name in ("dash", "bash", "busybox", "ash")
        )
        for pid in own[:1] if victim == "first" else own[1:]:
            os.kill(pid, signal.SIGKILL)
        if victim == "first":
            # As sshd does.
            far.process.wait()
        with contextlib.suppress(BrokenPipeError):
            far.request()
        far.wait_until_gone(20)


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_who_starts_a_command_again_ends_with_a_supervisor_that_was_killed(shell: str) -> None:
    script = far_script().decode()
    begin = script.index("kept_up() {")
    function = script[begin : script.index("\n}\n", begin) + 3]
    command = [shell, "-c", f"SLOW_S=0.2\n{function}kept_up false & echo $!; wait"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as supervisor:
        assert supervisor.stdout is not None
        child = int(supervisor.stdout.readline())
        assert Path(f"/proc/{child}").exists()
        supervisor.kill()
    # Where no first process waits for orphans, it stays a zombie.
    wait_until(lambda: start_ticks(child) is None, 10, "the other shell has ended")


def test_a_cut_script_is_not_run() -> None:
    with FarShell(script=far_script()[:-30]) as far:
        far.process.stdin.close()
        assert far.process.wait(5) != 0 or far.process.stdout.read() == b""
        far.wait_until_gone(3)


@pytest.mark.parametrize("login", ["sh", "bash", "tcsh", "fish"])
def test_the_login_shell_may_be_any_and_may_print(login) -> None:
    if shutil.which(login) is None:
        pytest.skip(f"{login} is not installed")
    command = [login, "-c", f"echo 'Welcome, %PYLON user'; {FAR_COMMAND}"]
    with FarShell("sh", command=command) as far:
        assert far.frame().sequence == 1
        assert "Welcome" in far.decoder.greeting


def test_it_makes_itself_leader_of_its_group() -> None:
    # As under a wrapper that keeps the command in its own group.
    command = ["sh", "-c", f"{FAR_COMMAND.removeprefix('exec ')}; exit"]
    with FarShell("sh", command=command) as far:
        far.frame()
        children = Path(f"/proc/{far.process.pid}/task/{far.process.pid}/children").read_text().split()
        child = int(children[0])
        assert os.getpgid(child) == child
        far.process.stdin.close()
        far.process.wait(5)


def test_it_writes_no_file() -> None:
    def no_file_may_grow() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    environment = {"TMPDIR": "/nonexistent"}
    with FarShell(path=HERE, environment=environment, preexec_fn=no_file_may_grow, cwd="/") as far:
        far.status(Tier.SLOW, Tier.PROCESSES)
        assert far.status_when(lambda status: status.gpu.gpus).cpu.sample.cpu_percent is not None


@every_shell
def test_without_proc_everything_is_absent(shell) -> None:
    with FarShell(shell, script=script_with(PROC="/nonexistent", SYS="/nonexistent"), path=HERE) as far:
        far.status(Tier.SLOW, gpu_interval_ms=200)
        status = far.status(Tier.SLOW, gpu_interval_ms=200)
    assert status.far_uptime_s is None
    assert status.cpu.sample.absent["cpu_percent"] is Absence.UNSUPPORTED
    assert status.cpu.sample.absent["memory_used_bytes"] is Absence.UNSUPPORTED
    assert status.cpu.sample.absent["disk_read_bytes_per_s"] is Absence.UNSUPPORTED
    assert status.gpu.absence is Absence.UNSUPPORTED
    assert status.hostname


def test_what_is_no_request_is_passed_over(tmp_path) -> None:
    with FarShell() as far:
        for line in (
            "",
            "T",
            "T 1",
            "T x fast 0",
            "T 9 $(touch\t/tmp/x) 0",
            "T 1 `id` 0",
            "E",
            "T 1 fast 1 1",
        ):
            far.send(f"{line}\n".encode())
        far.send(b"\xff\xfe;exit\n")
        assert far.frame().sequence == 1
