"""Files that are complete or absent: the one writer behind every artefact of a run, and their checksums."""

from pylon import require_namespace as _require_namespace
from pylon.storage.atomic import (
    UNSUPPORTED,
    atomic_path,
    remove_unfinished,
    replace_link,
    write_bytes,
    write_json,
    write_text,
)
from pylon.storage.features import missing_features
from pylon.storage.home import with_home
from pylon.storage.manifest import DamagedFileError, describe_file, verify_manifest, write_manifest
from pylon.storage.parsing import parsed_json
from pylon.storage.planted import (
    PlantedError,
    open_unlinked,
    refuse_link,
    refuse_other_than_file,
    refuse_planted,
    refuse_planted_entry,
)

__all__ = [
    "UNSUPPORTED",
    "DamagedFileError",
    "PlantedError",
    "atomic_path",
    "describe_file",
    "missing_features",
    "open_unlinked",
    "parsed_json",
    "refuse_link",
    "refuse_other_than_file",
    "refuse_planted",
    "refuse_planted_entry",
    "remove_unfinished",
    "replace_link",
    "verify_manifest",
    "with_home",
    "write_bytes",
    "write_json",
    "write_manifest",
    "write_text",
]

_require_namespace(__name__)
