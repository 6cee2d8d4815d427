"""Step windows merged into wider ones: of old ones in the file, and for drawing."""

import sqlite3

# From which age, in s, windows are merged to which width.
_AGES = ((3600.0, 10), (86400.0, 60), (14 * 86400.0, 600))
# How many windows of the new width are made at once.
_SLICE = 60


def _mean(value: str, weight: str) -> str:
    return f"sum({value} * {weight}) / nullif(sum(CASE WHEN {value} IS NOT NULL THEN {weight} END), 0)"


# What windows come to that are taken together, in the order of the table's columns after `width`.
MERGED = ", ".join(
    (
        *("sum(n)", "min(first_step)", "max(last_step)", "max(epoch)"),
        *("min(step_min)", _mean("step_mean", "n"), "max(step_max)"),
        *("min(wait_min)", _mean("wait_mean", "n"), "max(wait_max)"),
        *("min(loss_min)", _mean("loss_mean", "loss_n"), "max(loss_max)"),
        *("sum(loss_n)", "sum(non_finite)"),
    )
)


def merge_old(connection: sqlite3.Connection, now: float) -> None:
    """Merge one piece of the windows that are old enough, inside the caller's transaction."""
    for age, width in _AGES:
        oldest = connection.execute(
            "SELECT min(t) FROM step_window WHERE width < ? AND t < ?", (width, now - age - _SLICE * width)
        ).fetchone()[0]
        if oldest is None:
            continue
        since = oldest // width * width
        span = {"width": width, "since": since, "until": since + _SLICE * width}
        rows = connection.execute(
            f"SELECT launch, CAST(t / :width AS INTEGER) * :width AS start, :width, {MERGED} "
            "FROM step_window WHERE t >= :since AND t < :until GROUP BY launch, start",
            span,
        ).fetchall()
        connection.execute("DELETE FROM step_window WHERE t >= :since AND t < :until", span)
        places = ", ".join("?" * 18)
        connection.executemany(f"INSERT OR REPLACE INTO step_window VALUES ({places})", rows)
