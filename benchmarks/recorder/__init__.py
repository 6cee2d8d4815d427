"""What recording costs.

    python -m benchmarks.recorder.history [--figures 100] [--hours 24] [--quick]
    python -m benchmarks.recorder.verdicts [--seconds 30] [--only TEXT]
    python -m benchmarks.recorder.process [--seconds 40] [--runs 2] [--deaths 10] [--quick]
    python -m benchmarks.recorder.wrapper [--seconds 10] [--repeats 3] [--quick]
    python -m benchmarks.recorder.report [--hours 24] [--gpus 8] [--quick]
    python -m benchmarks.recorder.deaths [--only TOOL ...] [--deaths DEATH ...] [--jobs 2]

history   the file of a record: what a tick and a reading cost, early in a run and late
verdicts  runs built to be held back by one thing or by two, and what the verdict names
process   the recorder: CPU time and memory, delay of the exit, seconds from death to the row
wrapper   a command under `pylon run`, bare, and under con/duct
report    what a reader waits for after a death, and how large the page is
deaths    what Pylon, W&B, con/duct, MLflow and Lightning report after the same ten deaths
"""
