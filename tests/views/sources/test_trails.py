"""The last minutes of figures: gaps where nothing is known, and memory that does not grow."""

from pylon.views.sources.servers import ServerNow, servers_now
from pylon.views.sources.trails import OF_GPU, OF_HOST, Trails
from tests.monitor.statuses import gpu, gpus, snapshot


def _two(*cards: int) -> tuple[ServerNow, ...]:
    return servers_now(snapshot(a=gpus(*(gpu(one) for one in cards)), b=gpus()), {}, ["a", "b"])


def test_values_are_at_their_times_and_gaps_are_none() -> None:
    trails = Trails(points=4)
    trails.add(1.0, _two())
    trails.add(2.0, _two(0))
    trails.add(3.0, ())
    card = _two(0)[0].gpus[0]
    known = card.figure("gpu_memory_used").value
    assert trails.times() == [1.0, 2.0, 3.0]
    assert trails.values("a", "gpu_memory_used", card.uuid) == [None, known, None]
    assert trails.values("a", "cpu_utilization")[2] is None
    assert trails.values("a", "cpu_utilization")[0] is not None
    assert trails.values("absent", "cpu_utilization") is None


def test_the_oldest_points_and_devices_that_are_gone_are_dropped() -> None:
    trails = Trails(points=3)
    trails.add(0.0, _two(0))
    for now in range(1, 10):
        trails.add(float(now), _two())
        uuid = _two(0)[0].gpus[0].uuid
        assert len(trails.times()) <= 3
        assert len(trails.values("a", "cpu_utilization")) == len(trails.times())
        assert (trails.values("a", "gpu_memory_used", uuid) is None) == (now > 3)


def test_series_beyond_the_limit_are_counted() -> None:
    trails = Trails(most_series=len(OF_HOST) * 2 + 1)
    trails.add(0.0, _two(0))
    assert trails.left_out == len(OF_GPU) - 1
