"""The parent's side of a contestant's process: one that answers, is late, or has ended."""

import json
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Any

from contestants import CONTESTANTS

HERE = Path(__file__).resolve().parent
PATIENCE = 600.0  # seconds that an answer may take; compiling takes the longest

# One thread each, on the CPU where that is what is measured.
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NPROC")}
XLA_FLAGS = "--xla_cpu_multi_thread_eigen=false"


def environment(device: str, own: dict[str, str]) -> dict[str, str]:
    """Return the environment of a contestant: this tree's library, one thread, and the device that it may see."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = {**os.environ, **ONE_THREAD, **own, "PYTHONPATH": os.pathsep.join(paths), "XLA_FLAGS": XLA_FLAGS}
    if device == "cpu":
        return {**found, "CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    return {**found, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Process:
    """A contestant's process; `absent` says why it takes no part, once it does not."""

    def __init__(self, contestant: str, task: str, device: str) -> None:
        self.absent: str | None = None
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), contestant, task, device],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(device, CONTESTANTS[contestant].environment),
        )

    def order(self, *words: Any) -> dict[str, Any]:
        """Give an order, and return the answer."""
        if self.absent is None and self.process.stdin is not None:
            try:
                print(*words, file=self.process.stdin, flush=True)
            except BrokenPipeError:
                self.absent = "its process ended"
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """Wait for an answer, and return it; none comes of a contestant that takes no part."""
        pipe = self.process.stdout
        if self.absent is not None or pipe is None:
            return {}
        line = pipe.readline() if select.select([pipe], [], [], PATIENCE)[0] else None
        if not line:
            self.absent = "its process ended" if line == "" else f"no answer within {PATIENCE:.0f} seconds"
            return {}
        found: dict[str, Any] = json.loads(line)
        self.absent = found.get("absent")
        return found

    def end(self) -> None:
        """End the process, and wait for it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
