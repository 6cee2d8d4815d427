"""The GPU driver through NVML: the only place that imports pynvml."""
