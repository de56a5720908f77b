"""The tight loop: what a PyTorch expert writes by hand for each task, in the fastest plain way, which everyone is compared with.

Tensors in memory (on a GPU, in its memory), one permutation an epoch and one gather a tensor, gradients set to None without
`zero_grad`'s bookkeeping, fused Adam, and nothing read from the device before the end of the epoch. Each loop is straight
code for its task, since a loop that serves several would be slower.
"""

from typing import Any

import torch
import torch.nn.functional as F
from networks import adam, network_of, tensors_of
from tasks import Run, Task
from torch import nn


def make(task: Task, device: str) -> Run:
    """Return the loop of a task."""
    network = network_of(task).to(device)
    if task.kind == "sequence":
        return sequence(network, task, device)
    tensors = [tensor.to(device) for group in tensors_of(task) for tensor in group]
    if task.kind == "train-on-batch":
        return train_on_batch(network, *task.arrays(), device)
    if task.kind == "predict":
        return predict(network, task.batch_size, tensors[0])
    if task.model == "regression":
        return regression(network, task.batch_size, *tensors)
    if task.model == "two-by-two":
        return two_by_two(network, task.batch_size, *tensors)
    return classification(network, task.batch_size, *tensors)


def classification(network: nn.Module, batch_size: int, inputs: torch.Tensor, targets: torch.Tensor) -> Run:
    """Return the loop over arrays for one output that tells classes apart; an epoch is what a call of `fit` would be."""
    optimizer, parameters, device = adam(network), list(network.parameters()), inputs.device

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            total_loss, total_right = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device)
            for index in torch.randperm(len(inputs), device=device).split(batch_size):
                x, y = inputs.index_select(0, index), targets.index_select(0, index)
                logits = network(x)
                loss = F.cross_entropy(logits, y)
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                optimizer.step()
                total_loss.add_(loss.detach(), alpha=len(index))
                total_right += (logits.argmax(-1) == y).sum()
            figures.append((total_loss.item() / len(inputs), total_right.item() / len(inputs)))
        return figures

    return run


def regression(network: nn.Module, batch_size: int, inputs: torch.Tensor, targets: torch.Tensor) -> Run:
    """Return the loop over arrays for one output that is a number."""
    optimizer, parameters, device = adam(network), list(network.parameters()), inputs.device

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            total_loss = torch.zeros((), device=device)
            for index in torch.randperm(len(inputs), device=device).split(batch_size):
                x, y = inputs.index_select(0, index), targets.index_select(0, index)
                loss = F.mse_loss(network(x), y)
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                optimizer.step()
                total_loss.add_(loss.detach(), alpha=len(index))
            figures.append(total_loss.item() / len(inputs))
        return figures

    return run


def two_by_two(
    network: nn.Module, batch_size: int, left: torch.Tensor, right: torch.Tensor, kinds: torch.Tensor, values: torch.Tensor
) -> Run:
    """Return the loop over arrays for two inputs and two outputs."""
    optimizer, parameters, device = adam(network), list(network.parameters()), left.device

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            total_kind, total_value = torch.zeros((), device=device), torch.zeros((), device=device)
            total_right = torch.zeros((), dtype=torch.int64, device=device)
            for index in torch.randperm(len(left), device=device).split(batch_size):
                kind = kinds.index_select(0, index)
                logits, value = network(left.index_select(0, index), right.index_select(0, index))
                kind_loss, value_loss = F.cross_entropy(logits, kind), F.mse_loss(value, values.index_select(0, index))
                loss = kind_loss + value_loss
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                optimizer.step()
                total_kind.add_(kind_loss.detach(), alpha=len(index))
                total_value.add_(value_loss.detach(), alpha=len(index))
                total_right += (logits.argmax(-1) == kind).sum()
            figures.append([total.item() / len(left) for total in (total_kind, total_value, total_right)])
        return figures

    return run


def sequence(network: nn.Module, task: Task, device: str) -> Run:
    """Return the loop over batches that are already made."""
    optimizer, parameters, batches = adam(network), list(network.parameters()), task.batches()

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            total_loss, total_right, seen = torch.zeros((), device=device), torch.zeros((), dtype=torch.int64, device=device), 0
            for number in torch.randperm(len(batches)).tolist():
                inputs, targets = batches[number]
                x, y = torch.from_numpy(inputs).to(device), torch.from_numpy(targets).to(device)
                logits = network(x)
                loss = F.cross_entropy(logits, y)
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()
                optimizer.step()
                total_loss.add_(loss.detach(), alpha=len(x))
                total_right += (logits.argmax(-1) == y).sum()
                seen += len(x)
            figures.append((total_loss.item() / seen, total_right.item() / seen))
        return figures

    return run


def train_on_batch(network: nn.Module, inputs: Any, targets: Any, device: str) -> Run:
    """Return the loop that trains on one batch of arrays, and reads the loss and the accuracy each time."""
    optimizer, parameters = adam(network), list(network.parameters())

    def run(times: int) -> object:
        figures = []
        network.train()
        for _ in range(times):
            x, y = torch.from_numpy(inputs[0]).to(device), torch.from_numpy(targets[0]).to(device)
            logits = network(x)
            loss = F.cross_entropy(logits, y)
            for parameter in parameters:
                parameter.grad = None
            loss.backward()
            optimizer.step()
            figures.append((loss.item(), (logits.argmax(-1) == y).sum().item() / len(x)))
        return figures

    return run


def predict(network: nn.Module, batch_size: int, inputs: torch.Tensor) -> Run:
    """Return the loop that predicts the probabilities of all rows, as an array."""
    network.eval()

    def run(times: int) -> object:
        outputs = None
        with torch.inference_mode():
            for _ in range(times):
                outputs = torch.cat([network(x) for x in inputs.split(batch_size)]).cpu().numpy()
        return outputs

    return run
