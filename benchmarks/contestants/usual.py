"""The usual loop, as most people write it: a `DataLoader` over a dataset, default Adam, `zero_grad`, and `.item()` in each step."""

from typing import Any

import torch
from networks import call, loader_of, loss_of, moved, network_of, right_of, tensors_of
from tasks import Run, Task
from torch import nn


def make(task: Task, device: str) -> Run:
    """Return the loop of a task."""
    network = network_of(task).to(device)
    if task.kind == "predict":
        return predict(network, task, device)
    return train(network, task, device)


def train(network: nn.Module, task: Task, device: str) -> Run:
    """Return the loop that trains; where a batch is trained on by itself, it is the only one there is."""
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7)
    loss_function, right = loss_of(task), right_of(task)
    batches: Any = [[group[0] for group in tensors_of(task)]] if task.kind == "train-on-batch" else loader_of(task)

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            total_loss, total_right = 0.0, 0.0
            for batch in batches:
                x, y = moved(batch[0], device), moved(batch[1], device)
                optimizer.zero_grad()
                outputs = call(network, x)
                loss = loss_function(outputs, y)
                loss.backward()
                optimizer.step()
                total_loss += loss.item()
                if right is not None:
                    total_right += right(outputs, y).item()
            figures.append((total_loss / len(batches), total_right / (task.steps * task.batch_size)))
        return figures

    return run


def predict(network: nn.Module, task: Task, device: str) -> Run:
    """Return the loop that predicts."""
    network.eval()
    loader = loader_of(task)

    def run(times: int) -> object:
        outputs = None
        with torch.no_grad():
            for _ in range(times):
                outputs = torch.cat([network(x.to(device)).cpu() for (x,) in loader]).numpy()
        return outputs

    return run
