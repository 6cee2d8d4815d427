"""A training on the CPU keeps the memory that a step frees, unless the user has chosen otherwise."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runners.conftest import ENVIRONMENT, Toy

REPOSITORY = Path(__file__).resolve().parents[2]
STEPS, BLOCK_BYTES = 20, 24 * 2**20
PAGES = STEPS * BLOCK_BYTES // os.sysconf("SC_PAGE_SIZE")
# As steps: each takes two blocks, fills them, and frees them. Prints how many pages the kernel had to give.
PROGRAM = f"""
import resource, torch
from pylon.runners.allocator import keep_freed_memory

def step():
    first = torch.ones({BLOCK_BYTES} // 4)
    (first + first).sum()

kept = keep_freed_memory()
for _ in range({STEPS}):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range({STEPS}):
    step()
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc")


def kept_and_faults(**environment: str) -> tuple[bool, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPOSITORY, env={**ENVIRONMENT, **environment},
        capture_output=True, text=True, timeout=100, check=True,
    )  # fmt: skip
    kept, faults = done.stdout.split()
    return kept == "True", int(faults)


def test_kept_memory_is_not_got_again_page_by_page() -> None:
    kept, faults = kept_and_faults()
    assert kept
    assert faults < PAGES / 10


def test_choice_of_the_user_is_left_alone() -> None:
    # The same as without Pylon, at a threshold from which blocks are got by mmap each time.
    kept, faults = kept_and_faults(MALLOC_MMAP_THRESHOLD_="1048576")
    assert not kept
    assert faults > PAGES / 2


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_variables_that_count_as_a_choice(name: str) -> None:
    assert kept_and_faults(**{name: "4" if name.startswith("M") else "glibc.malloc.arena_max=4"})[0] is False


@pytest.mark.slow
def test_run_of_the_command_keeps_memory(toy: Toy) -> None:
    config = toy.write("")
    code = (
        "import sys, main\n"
        "import pylon.runners.launch.command as command\n"
        "calls = []\n"
        "plain = command.keep_freed_memory\n"
        "command.keep_freed_memory = lambda: calls.append(plain())\n"
        f"code = main.main(['--config-filepath', {str(config)!r}, '--device', 'cpu'])\n"
        "print(code, calls)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=ENVIRONMENT, capture_output=True, text=True,
        timeout=110, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "0 [True]"
