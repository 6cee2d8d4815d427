"""The report as JSON, for programs."""

import dataclasses
from typing import Any

from pylon.recorder.history import json_column
from pylon.recorder.report.story import Story


def story_record(story: Story) -> dict[str, Any]:
    """Everything that the text shows; times are Unix times, what is unknown is null."""
    launch = dataclasses.asdict(story.launch)
    for name in ("command", "cgroup", "configuration", "git", "hardware"):
        launch[name] = json_column(launch[name])
    ending = None if story.ending is None else dataclasses.asdict(story.ending)
    if ending is not None:
        ending["evidence"] = json_column(ending["evidence"])
    return {
        "path": str(story.path),
        "state": story.state,
        "cause": story.cause,
        "advice": story.advice,
        "launch": launch,
        "launches": story.launches,
        "ending": ending,
        "last_seen": story.last_seen,
        "last_step": story.last_step,
        "stacks": story.stacks,
        "earlier": [
            {
                "launch": launch.id,
                "began_at": launch.began_at,
                "state": end and end.state,
                "cause": end and end.cause,
            }
            for launch, end in story.earlier
        ],
        "figures": [figure.as_record() for figure in story.figures],
        "verdict": None if story.verdict is None else dataclasses.asdict(story.verdict),
        "processes": [dataclasses.asdict(one) for one in story.holders],
        "alerts": [dataclasses.asdict(alert) for alert in story.alerts],
    }
