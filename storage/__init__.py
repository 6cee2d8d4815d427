"""Files that are complete or absent: the one writer behind every artefact of a run."""

from storage.atomic import (
    atomic_path,
    remove_unfinished,
    replace_link,
    write_bytes,
    write_json,
    write_text,
)

__all__ = ["atomic_path", "remove_unfinished", "replace_link", "write_bytes", "write_json", "write_text"]
