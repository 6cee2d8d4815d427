"""Each rule on built runs: when it begins, that it stays quiet at the edge, when it ends."""

from collections.abc import Callable

import pytest

from pylon.recorder.alerts import Alerts, Change
from pylon.recorder.history import EndingRow, MarkRow, SeriesKey, StepWindow, VerdictRow

T = 1_790_000_000.0
GIB = 2.0**30


def key(name: str, device: str = "", server: str = "localhost") -> SeriesKey:
    return SeriesKey(server, device, name)


class Run:
    """A run, a second at a time, and what its alerts were."""

    def __init__(self) -> None:
        self.alerts = Alerts(1)
        self.t = T
        self.changes: list[Change] = []

    def seconds(
        self,
        count: int,
        *,
        readings: Callable[[int], list[tuple[SeriesKey, float | None, str | None]]] = lambda _: [],
        loss: Callable[[int], float | None] = lambda _: None,
        step_s: float | None = 0.1,
        non_finite: int | None = None,
    ) -> None:
        for second in range(count):
            value = loss(second)
            if step_s is not None:
                self.alerts.add_window(
                    StepWindow(
                        *(1, self.t, 1.0, 10, None, None, None, step_s, step_s, step_s, None, None, None),
                        *(value, value, value, None if value is None else 10, non_finite),
                    )
                )
            self.alerts.add_readings(self.t, readings(second))
            self.tick(1.0)

    def tick(self, seconds: float = 0.0) -> None:
        self.changes += self.alerts.tick(self.t)
        self.t += seconds

    def seen(self) -> list[tuple[str, str]]:
        """What changed, in short."""
        return [
            (one.row.rule, "once" if one.began and one.ended else "began" if one.began else "ended")
            for one in self.changes
        ]


@pytest.fixture
def run() -> Run:
    return Run()


def test_quiet_run_has_no_alert(run: Run) -> None:
    run.seconds(
        1000,
        readings=lambda second: [
            (key("memory_total"), 64 * GIB, None),
            (key("memory_available"), 30 * GIB + (second % 7) * 1e8, None),
            (key("disk_free"), 1e12 - second * 1e6, None),
            (key("gpu_temperature", "GPU-1"), 84.0, None),
            (key("gpu_throttle_reasons", "GPU-1"), 4.0, None),
        ],
        loss=lambda second: 2.0 / (1 + second / 100) + 0.1 * (second % 5),
        non_finite=0,
    )
    assert run.seen() == []


def test_hang_is_stuck_until_the_next_step(run: Run) -> None:
    run.alerts.add_mark(MarkRow(1, T, "hang", '{"for_s": 61.0, "limit_s": 60.0, "step_s": 0.2}'))
    run.seconds(5, step_s=None)
    assert run.seen() == [("stuck", "began")]
    assert run.changes[0].row.text == "No step for 61.0 s; a step takes 0.2 s."
    run.seconds(1)
    assert run.seen() == [("stuck", "began"), ("stuck", "ended")]
    assert run.changes[1].row.until == T + 5


@pytest.mark.parametrize("state", ["failed", "killed", "crashed", "hung", "unknown"])
def test_death_is_an_alert_and_ends_all_others(run: Run, state: str) -> None:
    run.alerts.add_mark(MarkRow(1, T, "hang", None))
    run.tick(10)
    run.alerts.ended(EndingRow(1, T + 10, state, "cgroup_oom", "confirmed", "kernel", advice="Use less."))
    run.tick()
    assert run.seen() == [("stuck", "began"), ("stuck", "ended"), ("died", "once")]
    assert f"{state}, cause: cgroup_oom (confirmed). Use less." in run.changes[-1].row.text


@pytest.mark.parametrize("state", ["finished", "stopped"])
def test_end_that_was_meant_is_no_alert(run: Run, state: str) -> None:
    run.alerts.ended(EndingRow(1, T, state, "clean", "confirmed", "program"))
    run.tick()
    assert run.seen() == []


def test_leak_is_noticed_before_memory_is_full_and_clears_when_it_is_freed(run: Run) -> None:
    def leaking(second: int) -> list[tuple[SeriesKey, float | None, str | None]]:
        used = 16 * GIB * (0.5 + second / 1500)
        return [(key("cgroup_memory_limit"), 16 * GIB, None), (key("cgroup_memory_limit_used"), used, None)]

    run.seconds(600, readings=leaking)
    assert run.seen() == [("memory_runs_out", "began")]
    row = run.changes[0].row
    assert row.value is not None
    assert row.threshold == 16 * GIB
    assert row.value / row.threshold < 0.75, "minutes before it is full"
    assert "full in" in row.text
    assert "at this rate" in row.text
    run.seconds(600, readings=lambda _: [(key("cgroup_memory_limit_used"), 6 * GIB, None)])
    assert run.seen() == [("memory_runs_out", "began"), ("memory_runs_out", "ended")]


def test_start_that_fills_memory_quickly_to_a_half_is_no_leak(run: Run) -> None:
    run.seconds(
        300,
        readings=lambda second: [
            (key("memory_total"), 64 * GIB, None),
            (key("memory_available"), 64 * GIB * max(0.45, 1 - second / 200), None),
        ],
    )
    assert run.seen() == []


def test_memory_that_saws_below_its_limit_is_no_leak(run: Run) -> None:
    run.seconds(
        900,
        readings=lambda second: [
            (key("cgroup_memory_limit"), 100.0, None),
            (key("cgroup_memory_limit_used"), 80.0 + second % 10, None),
        ],
    )
    assert run.seen() == []


def test_disk_that_fills_within_the_hour(run: Run) -> None:
    run.seconds(900, readings=lambda second: [(key("disk_free"), 50e9 - second * 30e6, None)])
    assert run.seen() == [("disk_fills", "began")]
    assert "full in" in run.changes[0].row.text


def test_nearly_full_disk_without_a_trend(run: Run) -> None:
    run.seconds(200, readings=lambda _: [(key("disk_free"), 3e8, None)])
    assert run.seen() == [("disk_fills", "began")]


def test_lost_gpu_names_itself_and_returns(run: Run) -> None:
    run.seconds(3, readings=lambda _: [(key("gpu_utilization", "GPU-1"), None, "lost")])
    run.seconds(3, readings=lambda _: [(key("gpu_utilization", "GPU-1"), 5.0, None)])
    assert run.seen() == [("gpu_lost", "began"), ("gpu_lost", "ended")]
    assert "GPU-1" in run.changes[0].row.text


@pytest.mark.parametrize(
    ("reasons", "expected"),
    [(0x40, ["gpu_throttled"]), (0x80, ["gpu_throttled"]), (0x04, []), (0x01, [])],
)
def test_heat_and_power_brake_are_throttling_and_the_power_limit_is_not(
    run: Run, reasons: int, expected: list[str]
) -> None:
    run.seconds(120, readings=lambda _: [(key("gpu_throttle_reasons", "GPU-1"), float(reasons), None)])
    assert [rule for rule, _ in run.seen()] == expected


def test_heat_at_the_edge_rings_once(run: Run) -> None:
    run.seconds(20, readings=lambda _: [(key("gpu_temperature", "GPU-1"), 95.0, None)])
    run.seconds(20, readings=lambda _: [(key("gpu_temperature", "GPU-1"), 80.0, None)])
    assert run.seen() == [], "a short peak is none"
    run.seconds(600, readings=lambda second: [(key("gpu_temperature", "GPU-1"), 92.0 - second % 4, None)])
    assert run.seen() == []
    run.seconds(60, readings=lambda _: [(key("gpu_temperature", "GPU-1"), 91.0, None)])
    run.seconds(600, readings=lambda second: [(key("gpu_temperature", "GPU-1"), 92.0 - second % 6, None)])
    assert run.seen() == [("gpu_too_hot", "began")]
    run.seconds(200, readings=lambda _: [(key("gpu_temperature", "GPU-1"), 70.0, None)])
    assert run.seen() == [("gpu_too_hot", "began"), ("gpu_too_hot", "ended")]


def test_two_hot_gpus_are_two_alerts(run: Run) -> None:
    run.seconds(
        60, readings=lambda _: [(key("gpu_temperature", f"GPU-{number}"), 95.0, None) for number in range(2)]
    )
    assert run.seen() == [("gpu_too_hot", "began")] * 2


def test_xid_happens_once(run: Run) -> None:
    run.alerts.add_mark(MarkRow(1, T, "xid", '{"xid": 79}'))
    run.seconds(5)
    assert run.seen() == [("xid", "once")]
    assert "Xid 79" in run.changes[0].row.text


def test_server_that_is_away_for_a_minute(run: Run) -> None:
    far = key("cpu_utilization", server="gpu7")
    run.alerts.add_readings(T, [(far, None, "unreachable")])
    run.seconds(50)
    assert run.seen() == []
    run.seconds(20)
    assert run.seen() == [("server_unreachable", "began")]
    run.seconds(15, readings=lambda _: [(far, 3.0, None)])
    assert run.seen() == [("server_unreachable", "began"), ("server_unreachable", "ended")]


def test_non_finite_loss_begins_at_once_and_ends_after_a_minute_of_finite_ones(run: Run) -> None:
    run.seconds(1, non_finite=2)
    assert run.seen() == [("loss_non_finite", "began")]
    run.seconds(100, loss=lambda _: 1.0, non_finite=0)
    assert run.seen() == [("loss_non_finite", "began"), ("loss_non_finite", "ended")]


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda second: 2.0 / (1 + second / 50), []),
        (lambda second: 2.0 + 0.5 * (second % 3), []),
        (lambda second: -1.0 - second / 100, []),
        (lambda second: 2.0 / (1 + second / 50) if second < 300 else 1.5, []),
        (lambda second: 2.0 / (1 + second / 50) if second < 300 else second / 20, ["loss_diverging"]),
        (lambda second: 0.0, []),
    ],
    ids=["falls", "scatters", "negative", "rises a little", "diverges", "zero"],
)
def test_diverging_loss(run: Run, loss: Callable[[int], float], expected: list[str]) -> None:
    run.seconds(600, loss=loss, non_finite=0)
    assert [rule for rule, _ in run.seen()] == expected


def test_slow_steps_are_noticed_after_two_minutes_and_end(run: Run) -> None:
    run.seconds(600, step_s=0.1)
    run.seconds(200, step_s=0.25)
    assert run.seen() == [("step_time_doubled", "began")]
    assert run.changes[0].row.value == pytest.approx(0.25)
    assert "2.5 times the usual 0.1 s" in run.changes[0].row.text
    run.seconds(240, step_s=0.1)
    assert run.seen()[-1] == ("step_time_doubled", "ended")


def test_slow_first_minute_is_not_the_usual(run: Run) -> None:
    run.seconds(60, step_s=0.9)
    run.seconds(600, step_s=0.1)
    assert run.seen() == []


def test_verdict_that_changes_for_good_is_named_once(run: Run) -> None:
    for number, name in enumerate(
        [
            "gpu_busy",
            "not_enough_data",
            "input_bound",
            "gpu_busy",
            "input_bound",
            "input_bound",
            "input_bound",
        ]
    ):
        run.alerts.add_verdict(VerdictRow(1, T + 60 * number, 60.0, name))
    run.tick()
    assert run.seen() == [("verdict_changed", "once")]
    assert run.changes[0].row.text == "The bottleneck is now input_bound, before it was gpu_busy."


def test_names_without_end_are_bounded(run: Run) -> None:
    run.alerts.add_readings(T, [(key("gpu_temperature", f"GPU-{n}"), 99.0, None) for n in range(5000)])
    run.seconds(60)
    assert len(run.seen()) <= 512
