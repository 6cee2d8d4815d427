"""What ranks do together in a step next to DistributedDataParallel: time per step, over gloo on this machine.

    python -m benchmarks.ranks [--ranks 2 4] [--steps 500] [--values 3872]

Each rank is a process with one thread. `agree` is the exchange of stop signal and save request, `loss` the
sum of the losses, `buffers` the mean of so many values of running statistics (HANet has 3,872).
"""

import argparse
import multiprocessing
import os
import socket
import time
from multiprocessing.connection import Connection

import torch

from pylon.runners.distributed import AgreedStop, opened_world
from pylon.runners.signals import StopFlag


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--values", type=int, default=3872)
    options = parser.parse_args()
    print("| ranks | agree, us | loss, us | buffers, us |")
    print("|---|---|---|---|")
    for ranks in options.ranks:
        times = _measure(ranks, options.steps, options.values)
        print(f"| {ranks} | " + " | ".join(f"{1e6 * seconds:.0f}" for seconds in times) + " |", flush=True)


def _measure(ranks: int, steps: int, values: int) -> list[float]:
    """Median seconds of each kind of exchange, on the first rank."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_rank, args=(_variables(rank, ranks, port), steps, values, sender))
        for rank in range(ranks)
    ]
    for process in processes:
        process.start()
    times: list[float] = receiver.recv()
    for process in processes:
        process.join()
    return times


def _variables(rank: int, ranks: int, port: str) -> dict[str, str]:
    """What torchrun gives to a rank."""
    numbers = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
    return {**numbers, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}


def _rank(variables: dict[str, str], steps: int, values: int, sender: Connection) -> None:
    os.environ |= variables
    torch.set_num_threads(1)
    with opened_world(torch.device("cpu")) as world:
        stop = AgreedStop(StopFlag(), world)
        loss, flat = torch.zeros(()), torch.zeros(values, dtype=torch.float64)
        exchanges = (stop.agree, lambda: world.add_up(loss), lambda: world.add_up(flat))
        medians = []
        for exchange in exchanges:
            times = []
            for _ in range(steps):
                begun = time.perf_counter()
                exchange()
                times.append(time.perf_counter() - begun)
            medians.append(sorted(times)[steps // 2])
        if world.writes:
            sender.send(medians)


if __name__ == "__main__":
    main()
