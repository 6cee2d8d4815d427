"""One door each to the operating system and to the GPU driver. A collector may block, raise or die.

host, cgroup/local, processes/, nvml/            read this machine
host_figures, cgroup/figures, gpu_figures        what any machine's readings come to: no library, no file
counters, attempts, proc                         rates; reasons for failures; files of /proc
"""
