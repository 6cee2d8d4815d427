"""What monitors cost and what faults do to a run, Pylon's beside others', on stand-in GPUs.

    python -m benchmarks.monitors [--seconds 60] [--repeats 3] [--quick]

__main__  the order of measurements
trainees  starts a training process of its own for each measurement and tells it what to do
trainee   that process: follows commands on standard input
subjects  the monitors that it can hold
processes what the kernel says about processes
measures  CPU time, memory, latencies, start and end
faults    one fault at a time, and who survives it
tables    Markdown
"""
