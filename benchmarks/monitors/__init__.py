"""What monitors cost and what faults do to a run, Pylon's next to others', on stand-in GPUs.

    python -m benchmarks.monitors [--seconds 60] [--repeats 3] [--quick]

__main__  the order of measurements
trainees  starts a training process of its own for each measurement and sends it commands
trainee   that process: follows commands on standard input
subjects  the monitors that it can hold
processes what the kernel reports about processes
measures  CPU time, memory, latencies, start and end
faults    one fault at a time, and who survives it
tables    Markdown
"""
