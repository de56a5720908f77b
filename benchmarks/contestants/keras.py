"""Keras 3 in its default settings, which on JAX compile the step; the environment chooses the backend."""

import keras
from tasks import Run, Task

from contestants import drawn


def make(task: Task, device: str) -> Run | None:
    """Return what a user of Keras writes for a task. Its `fit` has no `workers`, and without a GPU of its own JAX stays out."""
    if task.arguments or not uses(device):
        return None
    return drawn.make(keras, task)


def uses(device: str) -> bool:
    """Whether the backend would run on a kind of device: torch takes the GPU that it is shown."""
    if device == "cpu" or keras.backend.backend() == "torch":
        return True
    return any(name.startswith("gpu") for name in keras.distribution.list_devices())
