"""Parts that end in each way a part can, for the tests of the command."""

import importlib
import os
import signal
import time

from tests.gpu.outcomes import Report, Setting, Skipped


def find_nothing_wrong(setting: Setting) -> Report:
    return Report("all is well", [], {"number": 1})


def find_a_fault(setting: Setting) -> Report:
    return Report("all is not well", ["one is two"])


def skip(setting: Setting) -> Report:
    raise Skipped("the moon is full")


def use_the_search_path(setting: Setting) -> Report:
    return Report(importlib.import_module("of_a_cluster").FIGURE)


def break_off(setting: Setting) -> Report:
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def die(setting: Setting) -> Report:
    os.kill(os.getpid(), signal.SIGSEGV)
    return Report()


def hang(setting: Setting) -> Report:
    if (child := os.fork()) == 0:
        os.setsid()
        time.sleep(600)
    (setting.root.parent / "child.txt").write_text(str(child))
    time.sleep(600)
    return Report()
