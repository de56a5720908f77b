"""A process of a job, alone in it, as it ends. `tests/distributed` has those of several."""

import os
import subprocess
import sys

PROGRAM = """
import time
from torchkeras_fn.engine.processes import processes
processes.time.sleep = lambda seconds: print("paused", processes.dist.is_initialized())
assert processes.join(None).count == 1
"""


def test_the_threads_of_gloo_are_given_time_before_the_group_is_left():
    """Otherwise one that still holds a tensor aborts a process that has done all its work, in one of six runs."""
    torchrun = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**os.environ, **torchrun}, capture_output=True, text=True, timeout=120, check=True
    )
    said = [line for line in ended.stdout.splitlines() if not line.startswith("[Gloo]")]  # as up to torch 2.9
    assert said == ["paused True"]
