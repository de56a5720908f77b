"""skorch: a `NeuralNet` on tensors, without a validation split and with the callbacks that nobody asked for left out.

Its idiom for the accuracy in training is `EpochScoring` on the outputs that it kept of each step; its own loss is `.item()`
in each step. Two inputs and targets go in as dicts, the targets to a `get_loss` of one's own, as its documentation does for
several outputs; an accuracy of one of them has no idiom, nor has one on batches that are already made.
"""

from typing import Any

import skorch
import torch
from networks import TensorBatches, network_of, right, tensors_of, two_losses
from skorch.callbacks import EpochScoring
from tasks import CLASSES, Run, Task, repeated
from torch import nn


class TwoOutputs(skorch.NeuralNet):
    """A net whose targets are a dict."""

    def get_loss(self, y_pred: Any, y_true: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the sum of the losses of the two outputs."""
        return two_losses(y_pred, (y_true["kind"], y_true["value"]))


def net_of(task: Task, device: str) -> skorch.NeuralNet:
    """Return the initialized net of a task."""
    arguments = {
        "optimizer": torch.optim.Adam,
        "lr": 1e-3,
        "optimizer__eps": 1e-7,
        "optimizer__fused": True,
        "batch_size": None if task.kind == "sequence" else task.batch_size,
        "iterator_train__shuffle": True,
        "train_split": None,
        "verbose": 0,
        "device": device,
        "callbacks__print_log": None,
        "callbacks__epoch_timer": None,
        "callbacks__valid_loss": None,
    }
    network = network_of(task)
    if task.model == "regression":
        return skorch.NeuralNetRegressor(network, criterion=nn.MSELoss, **arguments).initialize()
    if task.model == "two-by-two":
        return TwoOutputs(network, criterion=nn.MSELoss, **arguments).initialize()
    if task.kind in ("epochs", "calls"):
        arguments["callbacks"] = [EpochScoring("accuracy", name="train_accuracy", lower_is_better=False, on_train=True)]
    return skorch.NeuralNetClassifier(
        network, criterion=nn.CrossEntropyLoss, classes=list(range(CLASSES)), callbacks__valid_acc=None, **arguments
    ).initialize()


def make(task: Task, device: str) -> Run | None:
    """Return what does a task."""
    if task.arguments:
        return None
    net = net_of(task, device)
    if task.kind == "sequence":
        batches = TensorBatches(task.batches())
        return lambda times: net.partial_fit(batches, epochs=times)
    inputs, targets = tensors_of(task)
    if task.model == "two-by-two":
        both, wanted = dict(zip(("left", "right"), inputs, strict=True)), dict(zip(("kind", "value"), targets, strict=True))
        return lambda times: net.partial_fit(both, wanted, epochs=times)
    x, y = inputs[0], targets[0]
    if task.kind == "predict":
        # The network ends in a softmax, and `predict_proba` would add another one to it.
        return repeated(lambda: torch.cat(list(net.forward_iter(x, device="cpu"))).numpy())
    if task.kind == "train-on-batch":

        def train() -> object:
            step = net.train_step((x, y))
            return step["loss"].item(), right(step["y_pred"], y.to(device)).item() / len(y)

        return repeated(train)
    if task.kind == "calls":
        return repeated(lambda: net.partial_fit(x, y, epochs=1))
    return lambda times: net.partial_fit(x, y, epochs=times)
