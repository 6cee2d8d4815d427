"""Configuration: a file becomes checked data, and data becomes objects.

load ──> overrides ──> check ──> (debug) ──> build
                         └──> resolve: JSON that can be run again
"""

from runners.config.build import build, refusal
from runners.config.check import check_config, problems_of
from runners.config.debug import debug_config
from runners.config.evaluation import evaluation_of
from runners.config.files import file_digests
from runners.config.load import load_config
from runners.config.node import Node, children, is_node
from runners.config.overrides import apply_overrides
from runners.config.resolve import differences, to_json
from runners.config.signatures import shown, unknown_name

__all__ = [
    "Node",
    "apply_overrides",
    "build",
    "check_config",
    "children",
    "debug_config",
    "differences",
    "evaluation_of",
    "file_digests",
    "is_node",
    "load_config",
    "problems_of",
    "refusal",
    "shown",
    "to_json",
    "unknown_name",
]
