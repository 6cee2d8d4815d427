"""A file for the textfile collector of node_exporter: metrics without a port."""

from pathlib import Path

from pylon.storage.atomic import atomic_path


def write_textfile(target: Path, text: bytes) -> None:
    """Replace `target` at once.

    Args:
        target: NAME.prom in the folder that the collector reads.
        text: in Prometheus' text format.

    Raises:
        OSError: it cannot be written; what was there is untouched.
    """
    # The collector reads every *.prom, hidden or not: none of them may be a part of a file.
    finished = target.with_name(f".{target.name}.new")
    with atomic_path(finished) as temporary:
        temporary.write_bytes(text)
    finished.replace(target)
