"""How long torch's threads on the CPU wait awake for one another."""

from collections.abc import MutableMapping

VARIABLE, _POLICY = "GOMP_SPINCOUNT", "OMP_WAIT_POLICY"
# Some 1 ms: longer than most of a step's parts that one thread computes alone.
_SPINS = "20000"


def wait_awake_for_less(environment: MutableMapping[str, str]) -> None:
    """Set how often a thread without work looks for some before it sleeps, unless the user has chosen.

    GNU's OpenMP, which torch's packages bring, looks 300,000 times, for some 18 ms. On cores that other
    processes want too, such as the run's own loader workers, it so keeps from its core the thread that it
    waits for. No number depends on it; docs/benchmarks.md has the times.

    Args:
        environment: of this process, before torch is imported.

    Source: libgomp's manual, "GOMP_SPINCOUNT".
    """
    if _POLICY not in environment:
        environment.setdefault(VARIABLE, _SPINS)
