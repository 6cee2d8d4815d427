"""What Pylon's training costs: next to a hand-written loop, Lightning and accelerate, at saves, at resumes.

    python -m benchmarks.training [--parts steps checkpoints resume mid-epoch] [--rounds 2] [--quick]

__main__    the order of measurements
workloads   what is trained
contenders  who trains, and what exactly each does
loops       the loops that are not Pylon's: hand-written, accelerate, Lightning
trainee     a process that runs one of them
launching   starts each process on a terminal of its own
turns       lets one process train at a time
instrument  the criterion that notes time, CPU time and loss of each step, the same in all processes
stopwatch   the model that notes when each step begins and ends
timed_start the process of a resume: counts its imports' time, and ends after so many steps
steps       time per step, in turns, and whether all trained the same
checkpoints how long training waits for a save
resume      how long it takes to resume
tables      Markdown
summary     the table of README
"""
