"""The metrics of runs."""

from collections import Counter

from pylon.recorder.report.find import NAME
from pylon.recorder.report.words import STATES
from pylon.views.export.filling import Filling, label
from pylon.views.export.picture import Picture
from pylon.views.sources.runs import RunNow

# Long enough for several scrapes and for an alert to come; each run is a set of series of its own.
KEEP_ENDED_S = 600.0
# A recorder writes every second: what is older than this is not how the run goes now.
STALE_S = 60.0

_ACTIVITIES = ("training", "validation", "checkpoint")


def add_run(filling: Filling, picture: Picture, run: RunNow) -> None:
    """Add all that is known of a run now; nothing of one that ended minutes ago."""
    if run.ending is not None and picture.at - run.ending.at > KEEP_ENDED_S:
        return
    name = label(identity(run))
    launch = run.launch
    digest = (launch.configuration_digest or "")[:12]
    server = _server_of(run, picture)
    filling.add(
        "run", 1, name, label(run.name), label(launch.kind), label(launch.host), label(server), label(digest)
    )
    for state in STATES:
        filling.add("run_state", state == run.state, name, state)
    filling.add("run_launches", run.launches, name)
    filling.add("run_started_timestamp_seconds", launch.began_at, name)
    if run.ending is not None:
        filling.add("run_ended_timestamp_seconds", run.ending.at, name)
        filling.add("run_end", 1, name, *map(label, (run.state, run.ending.cause, run.ending.certainty)))
    filling.add("run_last_seen_timestamp_seconds", run.last_seen, name)
    filling.add("run_step", run.step, name)
    filling.add("run_last_step_timestamp_seconds", run.step_at, name)
    filling.add("run_epoch", run.epoch, name)
    filling.add("run_epochs", run.epochs, name)
    filling.add("run_last_checkpoint_timestamp_seconds", run.checkpoint_at, name)
    if run.score is not None:
        filling.add("run_score", run.score[1], name, label(run.score[0]))
    if run.ending is None and picture.at - run.last_seen <= STALE_S:
        _add_pace(filling, run, name)


def identity(run: RunNow) -> str:
    """What a run is called in its series: where it is, as the user's other tools show it."""
    path = run.path.absolute()
    return str(path.parent if path.name == NAME else path)


def _add_pace(filling: Filling, run: RunNow, name: str) -> None:
    for activity in _ACTIVITIES:
        filling.add("run_activity", activity == run.doing, name, activity)
    filling.add("run_loss", run.loss, name)
    filling.add("run_non_finite_losses", run.non_finite, name)
    filling.add("run_step_seconds", run.step_s, name)
    filling.add("run_data_wait_seconds", run.wait_s, name)
    filling.add("run_steps_per_second", run.steps_per_s, name)
    filling.add("run_expected_end_timestamp_seconds", run.end_expected_at, name)
    if run.verdict is not None:
        filling.add("run_bottleneck", 1, name, label(run.verdict))
    for (rule, severity), count in Counter((one.rule, one.severity) for one in run.alerts_now).items():
        filling.add("run_alerts", count, name, label(rule), label(severity))


def _server_of(run: RunNow, picture: Picture) -> str:
    """The watched server that a run is on; '' if none is seen to be it."""
    names = [server.name for server in picture.servers]
    if run.launch.host == picture.host and "localhost" in names:
        return "localhost"
    return run.launch.host if run.launch.host in names else ""
