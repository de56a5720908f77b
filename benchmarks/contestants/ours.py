"""This library, in its default settings or with `compile(jit_compile=True)`."""

from typing import Any

from tasks import Run, Task

import torchkeras_fn
from contestants import drawn


def make(task: Task, device: str, **arguments: Any) -> Run:
    """Return what a user of this library writes for a task, with further arguments of `compile`."""
    return drawn.make(torchkeras_fn, task, device=device, **arguments)
