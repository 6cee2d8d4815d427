"""Tables without levels: the oldest rows go when a table has used its part of the file."""

import sqlite3
from collections import Counter

# Part of the file that each table may use, the order of its rows, and which of them may go: what explains an
# end stays.
_PARTS = {
    "mark": (0.12, "id", "kind NOT IN ('begin', 'end', 'hang', 'stack', 'lost')"),
    "gap": (0.06, "t", "true"),
    "step_window": (0.15, "t", "true"),
    "verdict": (0.04, "t", "true"),
    "alert": (0.03, "since", "until IS NOT NULL"),
    "process": (0.05, "since", "true"),
}
_ROW_BYTES = {"step_window": 160}
_TEXTS = {
    "mark": "length(detail)",
    "verdict": "length(evidence)",
    "alert": "length(text)",
    "process": "length(command)",
}


class Bounds:
    """How much each table uses: counted as rows are written, measured only when that is too much."""

    def __init__(self, connection: sqlite3.Connection, limit_bytes: int) -> None:
        self._connection = connection
        self._limit_bytes = limit_bytes
        self._used = Counter({table: self._measure(table) for table in _PARTS})

    def wrote(self, table: str, rows: int, characters: int) -> None:
        """Count rows and the characters of their texts."""
        self._used[table] += rows * _ROW_BYTES.get(table, 48) + characters

    def enforce(self) -> dict[str, int]:
        """Remove the oldest third of each table that is too large; how many rows went, by table."""
        removed = {}
        for table, (part, order, may_go) in _PARTS.items():
            if self._used[table] <= part * self._limit_bytes:
                continue
            # Rows that were merged or replaced since are counted too.
            self._used[table] = self._measure(table)
            if self._used[table] <= part * self._limit_bytes:
                continue
            gone = self._remove(table, order, may_go)
            if gone:
                removed[table] = gone
            self._used[table] = self._measure(table)
        return removed

    def _remove(self, table: str, order: str, may_go: str) -> int:
        count = self._connection.execute(f"SELECT count(*) FROM {table} WHERE {may_go}").fetchone()[0]
        edge = self._connection.execute(
            f"SELECT {order} FROM {table} WHERE {may_go} ORDER BY {order} LIMIT 1 OFFSET ?", (count // 3,)
        ).fetchone()
        if edge is None:
            return 0
        return self._connection.execute(f"DELETE FROM {table} WHERE {may_go} AND {order} <= ?", edge).rowcount

    def _measure(self, table: str) -> int:
        characters = f"coalesce(sum({_TEXTS[table]}), 0)" if table in _TEXTS else "0"
        sql = f"SELECT count(*) * {_ROW_BYTES.get(table, 48)} + {characters} FROM {table}"
        used: int = self._connection.execute(sql).fetchone()[0]
        return used
