"""The models of the tasks in plain torch, which end in logits, with their losses and data: for hand-written loops and torch's peers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tasks import CLASSES, FEATURES, Batches, Task
from torch import nn
from torch.utils.data import DataLoader, Dataset, StackDataset, TensorDataset


def dense(units: int) -> nn.Sequential:
    """Return two hidden layers."""
    return nn.Sequential(nn.Linear(FEATURES, units), nn.ReLU(), nn.Linear(units, units), nn.ReLU(), nn.Linear(units, CLASSES))


def convolution() -> nn.Sequential:
    """Return two convolutions."""
    convolutions = [nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(800, CLASSES))


class TwoByTwo(nn.Module):
    """Two inputs that share a layer, and two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.kind, self.value = nn.Linear(32, 64), nn.Linear(128, 5), nn.Linear(128, 1)

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the logits and the value."""
        hidden = torch.cat([torch.relu(self.shared(left)), torch.relu(self.shared(right))], -1)
        return self.kind(hidden), self.value(hidden)


class LastOfLSTM(nn.Module):
    """A dense layer on the last output of an LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.dense = nn.LSTM(16, 64, batch_first=True), nn.Linear(64, CLASSES)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        return self.dense(self.recurrent(inputs)[0][:, -1])  # type: ignore[no-any-return]


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "dense-64": lambda: dense(64),
    "dense-512": lambda: dense(512),
    "regression": lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 1)),
    "two-by-two": TwoByTwo,
    "convolution": convolution,
    "lstm": LastOfLSTM,
}


def network_of(task: Task) -> nn.Module:
    """Return a new network; one that predicts gives probabilities."""
    network = NETWORKS[task.model]()
    return nn.Sequential(*network.children(), nn.Softmax(-1)) if task.kind == "predict" else network


def adam(network: nn.Module) -> torch.optim.Adam:
    """Return the optimizer of all but the usual loop: torch's fastest."""
    return torch.optim.Adam(network.parameters(), lr=1e-3, eps=1e-7, fused=True)


def two_losses(outputs: Any, targets: Any) -> torch.Tensor:
    """Return the sum of the losses of two outputs."""
    return F.cross_entropy(outputs[0], targets[0]) + F.mse_loss(outputs[1], targets[1])


def loss_of(task: Task) -> Callable[[Any, Any], torch.Tensor]:
    """Return the loss of a task, as a function of the outputs and the targets."""
    return {"regression": F.mse_loss, "two-by-two": two_losses}.get(task.model, F.cross_entropy)


def right_of(task: Task) -> Callable[[Any, Any], torch.Tensor] | None:
    """Return what counts the rows that a model has right, where it tells classes apart."""
    if task.model == "regression":
        return None
    if task.model == "two-by-two":
        return lambda outputs, targets: right(outputs[0], targets[0])
    return right


def right(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return how many rows have their largest logit at the target."""
    return (logits.argmax(-1) == targets).sum()


def tensors_of(task: Task) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return the inputs, images with the channels first, and the targets."""
    inputs, targets = task.arrays()
    if task.model == "convolution":
        inputs = [np.ascontiguousarray(np.moveaxis(x, -1, 1)) for x in inputs]
    return [torch.from_numpy(x) for x in inputs], [torch.from_numpy(y) for y in targets]


def dataset_of(task: Task) -> Dataset[Any]:
    """Return the inputs and targets as torch's dataset; several inputs or targets come as tuples."""
    inputs, targets = tensors_of(task)
    if len(inputs) == len(targets) == 1:
        return TensorDataset(*inputs, *targets)
    return StackDataset(TensorDataset(*inputs), TensorDataset(*targets))


class TensorBatches(Dataset):  # type: ignore[type-arg]
    """Batches that are already made, as tensors on their memory."""

    def __init__(self, batches: Batches) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.batches[index]
        return torch.from_numpy(x), torch.from_numpy(y)


def loader_of(task: Task) -> DataLoader[Any]:
    """Return the usual loader of the batches of a task: in a random order where it trains."""
    if task.kind == "sequence":
        return DataLoader(TensorBatches(task.batches()), batch_size=None, shuffle=True)
    if task.kind == "predict":
        return DataLoader(TensorDataset(*tensors_of(task)[0]), batch_size=task.batch_size)
    return DataLoader(dataset_of(task), batch_size=task.batch_size, shuffle=True)


def call(network: nn.Module, inputs: Any) -> Any:
    """Call a network on what a loader yields: one tensor, or several."""
    return network(inputs) if isinstance(inputs, torch.Tensor) else network(*inputs)


def moved(value: Any, device: str) -> Any:
    """Return tensors, or a list or tuple of them, on a device."""
    return value.to(device) if isinstance(value, torch.Tensor) else [tensor.to(device) for tensor in value]
