"""A host as its monitor sees it.

Three things are kept apart, since in a container they differ: the host, the control group that
limits the run there, and the processes of the run. Every field names which of them it describes and
where it comes from (`monitor.status.origins`). A field is None if `absent` gives a reason; without a
reason None is the answer itself, and the field's text explains it.
"""

from dataclasses import dataclass, field

from pylon.monitor.status.values import Absence, Scope, Side, WindowStats, measured

# How many of a host's busiest processes are named; half of them for CPU time, the rest for memory.
MOST_PROCESSES = 10

_HOST, _CGROUP, _PROCESS = Scope.HOST, Scope.CGROUP, Scope.PROCESS
_CARDS = "/sys/class/net/*/statistics or, without physical cards, /proc/net/dev"
_DISKS = "/sys/block/*/stat or, without physical disks, /proc/diskstats"


@dataclass(frozen=True, slots=True)
class CgroupSample:
    """What the control group of the run may use and has used. Rates are since the sample before.

    Attributes:
        version: 1 or 2; of memory, if a host has both.
        memory_used_bytes: of the group, page cache included, as the kernel accounts it.
        memory_limit_bytes: the tightest of the group and all above it that can be seen; None
            without a reason: no limit is set.
        memory_limit_used_bytes: what counts against that limit, other groups below it included;
            None without a reason: there is no limit.
        memory_peak_bytes: the most it has ever used.
        memory_working_set_bytes: used less the page cache that the kernel frees first (inactive_file), as
            kubelet counts it; groups below it included (slow).
        cpu_limit_cores: quota divided by period, tightest of all levels; None without a reason: no
            limit is set.
        cpuset_cores: how many cores it may run on.
        cpu_used_s: CPU time since the group was created.
        cpu_used_cores: CPU seconds used in each second.
        cpu_percent: that, of what it may use: the least of quota, cpuset and the host's cores.
        periods, throttled_periods: of the quota in force: all, and those in which it ran out.
        throttled_s: time that processes were kept waiting by it, summed over cores.
        throttled_percent: of the periods since the sample before; None without a reason: there was none.
        oom_kills: processes of the group that the kernel killed for memory.
        cpu_pressure_percent, memory_pressure_percent, io_pressure_percent: share of the last 10 s
            in which some task of the group waited for it (kernel documentation, accounting/psi.rst).
        absent: per field name why it is None.
        side: where it was read.
    """

    version: int
    memory_used_bytes: int | None = measured(
        _CGROUP, "memory.current; v1 memory.usage_in_bytes", default=None
    )
    memory_limit_bytes: int | None = measured(_CGROUP, "memory.max; v1 memory.limit_in_bytes", default=None)
    memory_limit_used_bytes: int | None = measured(
        _CGROUP, "memory.current; v1 memory.usage_in_bytes", default=None
    )
    memory_peak_bytes: int | None = measured(
        _CGROUP, "memory.peak; v1 memory.max_usage_in_bytes", default=None
    )
    memory_working_set_bytes: int | None = measured(
        _CGROUP, "memory.current, memory.stat; v1 memory.usage_in_bytes, memory.stat", default=None
    )
    cpu_limit_cores: float | None = measured(_CGROUP, "cpu.max; v1 cpu.cfs_quota_us", default=None)
    cpuset_cores: int | None = measured(
        _CGROUP, "cpuset.cpus.effective; v1 cpuset.effective_cpus", default=None
    )
    cpu_used_s: float | None = measured(_CGROUP, "cpu.stat; v1 cpuacct.usage", default=None)
    cpu_used_cores: float | None = measured(_CGROUP, "cpu.stat; v1 cpuacct.usage", default=None)
    cpu_percent: float | None = measured(_CGROUP, "cpu.stat; v1 cpuacct.usage", default=None)
    periods: int | None = measured(_CGROUP, "cpu.stat", default=None)
    throttled_periods: int | None = measured(_CGROUP, "cpu.stat", default=None)
    throttled_s: float | None = measured(_CGROUP, "cpu.stat", default=None)
    throttled_percent: float | None = measured(_CGROUP, "cpu.stat", default=None)
    oom_kills: int | None = measured(_CGROUP, "memory.events; v1 memory.oom_control", default=None)
    cpu_pressure_percent: float | None = measured(_CGROUP, "cpu.pressure", default=None)
    memory_pressure_percent: float | None = measured(_CGROUP, "memory.pressure", default=None)
    io_pressure_percent: float | None = measured(_CGROUP, "io.pressure", default=None)
    absent: dict[str, Absence] = field(default_factory=dict)
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class ProcessTreeSample:
    """The run's process and its descendants, its monitors left out. Rates are since the sample before.

    A process that was seen below the run stays with it when its own parent ends. New ones are found
    within seconds, not at once; a rate counts those that both samples saw.

    Attributes:
        cpu_percent: of one core: 200 is two cores.
        rss_bytes: sum of resident sizes; shared pages count in each process.
        pss_bytes: sum of resident sizes, each shared page divided among those that share it (slow).
        pss_monotonic_s: when that was read.
        processes, threads: how many that have not ended.
        zombies: ended and not waited for by their parent.
        open_files: descriptors (slow).
        read_bytes_per_s, write_bytes_per_s: from and to storage; without what the page cache answers.
        processes_denied: those that do not show all of it to this user: the sums lack them.
        absent: per field name why it is None.
    """

    cpu_percent: float | None = measured(_PROCESS, "/proc/PID/stat", default=None)
    rss_bytes: int | None = measured(_PROCESS, "/proc/PID/stat", default=None)
    pss_bytes: int | None = measured(_PROCESS, "/proc/PID/smaps_rollup", default=None)
    pss_monotonic_s: float | None = None
    processes: int | None = measured(_PROCESS, "/proc/PID/stat", default=None)
    threads: int | None = measured(_PROCESS, "/proc/PID/stat", default=None)
    zombies: int | None = measured(_PROCESS, "/proc/PID/stat", default=None)
    open_files: int | None = measured(_PROCESS, "/proc/PID/fd", default=None)
    read_bytes_per_s: float | None = measured(_PROCESS, "/proc/PID/io", default=None)
    write_bytes_per_s: float | None = measured(_PROCESS, "/proc/PID/io", default=None)
    processes_denied: int = 0
    absent: dict[str, Absence] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopProcess:
    """One of the host's busiest processes. Its command line is never read: it may contain secrets.

    Attributes:
        pid: process id.
        name: command name, 15 characters at most, as the kernel keeps it.
        user: name of the owner in /etc/passwd, or the user id in digits; None once it is gone.
        cpu_percent: of one core, since the list before; None for a process that is new in it.
        rss_bytes: resident size.
        of_run: whether it belongs to the watched run's process tree.
        side: where it was read.
    """

    pid: int = measured(_PROCESS, "/proc/PID/stat")
    name: str = measured(_PROCESS, "/proc/PID/stat", remote="/proc/PID/comm")
    user: str | None = measured(_HOST, "getpwuid", remote="id -un or /proc/PID/status")
    cpu_percent: float | None = measured(_PROCESS, "/proc/PID/stat")
    rss_bytes: int = measured(_PROCESS, "/proc/PID/stat")
    of_run: bool = measured(_PROCESS, "/proc/PID/stat", remote="")
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class CPUSample:
    """One reading of a host. Rates are per second since the sample before.

    Attributes:
        monotonic_s, wall_time_s: when it was taken.
        slow_monotonic_s: when what is marked slow was read: swap, limits, pressure, descriptors.
        cpu_percent: of all cores together, 0..100.
        core_percent: of each core that is online, 0..100; None for one that is unknown.
        load_1m, load_5m, load_15m: run queue, mean over minutes.
        memory_used_bytes: total less available.
        memory_available_bytes: what can be allocated without swapping.
        memory_total_bytes: of the machine.
        swap_used_bytes, swap_total_bytes: total is 0 on a machine without (slow).
        disk_read_bytes_per_s, disk_write_bytes_per_s: of the physical disks together.
        net_received_bytes_per_s, net_sent_bytes_per_s: of the physical network cards together; in
            a container, which has none, of all its interfaces but the loopback.
        cgroup: limits and use of the run's control group.
        run: the run's process tree.
        top_processes: of the host, those that used most CPU and those that hold most memory.
        others_hidden: the system hides other users' processes (hidepid): that list lacks them.
        top_monotonic_s: when that list was made.
        absent: per field name why it is None.
        side: where it was taken.
    """

    monotonic_s: float
    wall_time_s: float
    slow_monotonic_s: float | None = None
    cpu_percent: float | None = measured(_HOST, "/proc/stat", default=None)
    core_percent: tuple[float | None, ...] | None = measured(_HOST, "/proc/stat", default=None)
    load_1m: float | None = measured(_HOST, "/proc/loadavg", default=None)
    load_5m: float | None = measured(_HOST, "/proc/loadavg", default=None)
    load_15m: float | None = measured(_HOST, "/proc/loadavg", default=None)
    memory_used_bytes: int | None = measured(_HOST, "/proc/meminfo", default=None)
    memory_available_bytes: int | None = measured(_HOST, "/proc/meminfo", default=None)
    memory_total_bytes: int | None = measured(_HOST, "/proc/meminfo", default=None)
    swap_used_bytes: int | None = measured(_HOST, "/proc/meminfo", default=None)
    swap_total_bytes: int | None = measured(_HOST, "/proc/meminfo", default=None)
    disk_read_bytes_per_s: float | None = measured(_HOST, "/proc/diskstats", remote=_DISKS, default=None)
    disk_write_bytes_per_s: float | None = measured(_HOST, "/proc/diskstats", remote=_DISKS, default=None)
    net_received_bytes_per_s: float | None = measured(_HOST, "/proc/net/dev", remote=_CARDS, default=None)
    net_sent_bytes_per_s: float | None = measured(_HOST, "/proc/net/dev", remote=_CARDS, default=None)
    cgroup: CgroupSample | None = None
    run: ProcessTreeSample | None = None
    top_processes: tuple[TopProcess, ...] | None = measured(_HOST, "/proc/PID/stat", default=None)
    others_hidden: bool = False
    top_monotonic_s: float | None = None
    absent: dict[str, Absence] = field(default_factory=dict)
    side: Side = Side.LOCAL


@dataclass(frozen=True, slots=True)
class CPUStatus:
    """A host as its monitor last saw it.

    Attributes:
        sample: the newest reading.
        cpu_percent, memory_used_bytes: of the host, over the last `window_size` readings.
        run_cpu_percent, run_rss_bytes: of the run's process tree, likewise.
    """

    sample: CPUSample
    cpu_percent: WindowStats
    memory_used_bytes: WindowStats
    run_cpu_percent: WindowStats = field(default_factory=WindowStats)
    run_rss_bytes: WindowStats = field(default_factory=WindowStats)
