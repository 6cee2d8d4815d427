"""A notebook's side: start a real kernel, watch from a cell, interrupt, restart, shut down."""

import os
import sys
from pathlib import Path
from queue import Empty
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.faults.environments.common import hold, say, wait_for

REPOSITORY = Path(__file__).resolve().parents[3]

_WATCH = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
from tests.faults.environments.common import newer, ready, watch
monitor = watch()
ready(monitor)
"""
_TRAIN = "open({started!r}, 'w').close()\nimport time\nwhile True: time.sleep(0.01)"
_LOOK_AGAIN = "newer(monitor)\nready(monitor, 'again')"


def main() -> None:
    # Over files of the test's own; over TCP the kernel warns of others who could listen.
    manager = KernelManager(kernel_name="python3", transport="ipc", ip=f"{os.environ['PYLON_TEST_FOLDER']}/k")
    manager.start_kernel(extra_arguments=["--HistoryManager.enabled=False"])
    client: BlockingKernelClient = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    say("first cell", **run(client, _WATCH))

    started = Path(os.environ["PYLON_TEST_FOLDER"]) / "started"
    request = client.execute(_TRAIN.format(started=str(started)))
    wait_for(started.exists, "the cell runs")
    manager.interrupt_kernel()
    say("interrupted", **result(client, request))
    say("cell after it", **run(client, _LOOK_AGAIN))

    if sys.argv[1] == "kill":
        manager.shutdown_kernel(now=True)
    elif sys.argv[1] == "restart":
        manager.restart_kernel(now=False)
        client.wait_for_ready(timeout=60)
        say("restarted")
        # The test looks for what the former kernel has left.
        hold()
        manager.shutdown_kernel()
    else:
        manager.shutdown_kernel()
    client.stop_channels()


def run(client: BlockingKernelClient, code: str) -> dict[str, Any]:
    return result(client, client.execute(code))


def result(client: BlockingKernelClient, request: str) -> dict[str, Any]:
    """How a cell ended, and what it printed."""
    while True:
        reply = client.get_shell_msg(timeout=60)
        if reply["parent_header"].get("msg_id") == request:
            break
    printed = ""
    while True:
        try:
            message = client.get_iopub_msg(timeout=20)
        except Empty:
            break
        if message["parent_header"].get("msg_id") != request:
            continue
        if message["msg_type"] == "stream":
            printed += message["content"]["text"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            break
    return {"status": reply["content"]["status"], "error": reply["content"].get("ename"), "printed": printed}


if __name__ == "__main__":
    main()
