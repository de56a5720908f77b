"""Poutyne: its `Model` on arrays, or on a loader of batches that are already made; it reads the loss and the metric in each step."""

from typing import Any

import poutyne
import torch
from networks import adam, loader_of, loss_of, network_of, right_of, tensors_of
from tasks import Run, Task, repeated


def accuracy_of(task: Task) -> Any:
    """Return the metrics of a task: by name where the library knows it, else as a function."""
    count = right_of(task)
    if count is None:
        return []
    if task.classifies:
        return ["accuracy"]

    def accuracy(outputs: Any, targets: Any) -> torch.Tensor:
        return count(outputs, targets) / len(targets[0])

    return [accuracy]


def make(task: Task, device: str) -> Run | None:
    """Return what does a task."""
    if task.arguments:
        return None
    network = network_of(task)
    model = poutyne.Model(network, adam(network), loss_of(task), batch_metrics=accuracy_of(task), device=device)
    if task.kind == "sequence":
        loader = loader_of(task)
        return lambda times: model.fit_generator(loader, epochs=times, verbose=False)
    inputs, targets = tensors_of(task)
    x, y = (inputs[0], targets[0]) if len(inputs) == 1 else (tuple(inputs), tuple(targets))
    size = task.batch_size
    if task.kind == "train-on-batch":
        return repeated(lambda: model.train_on_batch(x, y))
    if task.kind == "calls":
        return repeated(lambda: model.fit(x, y, batch_size=size, epochs=1, verbose=False))
    if task.kind == "predict":
        return repeated(lambda: model.predict(x, batch_size=size, verbose=False))
    return lambda times: model.fit(x, y, batch_size=size, epochs=times, verbose=False)
