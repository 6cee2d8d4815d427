"""Configuration: a file becomes checked data, and data becomes objects.

load ──> overrides ──> check ──> (debug) ──> build
                         └──> resolve: JSON that can be run again
"""

from pylon.runners.config.build import build, refusal
from pylon.runners.config.check import check_config, problems_of, unfit
from pylon.runners.config.debug import debug_config
from pylon.runners.config.evaluation import evaluation_of
from pylon.runners.config.files import file_digests
from pylon.runners.config.load import load_config
from pylon.runners.config.names import with_present_names
from pylon.runners.config.node import Node, children, is_node
from pylon.runners.config.overrides import apply_overrides
from pylon.runners.config.resolve import difference_lines, differences, to_json, without_results
from pylon.runners.config.signatures import HandedOn, defaults_of, shown

__all__ = [
    "HandedOn",
    "Node",
    "apply_overrides",
    "build",
    "check_config",
    "children",
    "debug_config",
    "defaults_of",
    "difference_lines",
    "differences",
    "evaluation_of",
    "file_digests",
    "is_node",
    "load_config",
    "problems_of",
    "refusal",
    "shown",
    "to_json",
    "unfit",
    "with_present_names",
    "without_results",
]
