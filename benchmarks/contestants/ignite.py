"""Ignite: its supervised trainer with `Average` of the loss and `Accuracy`, and its evaluator to predict, on the usual loader."""

from typing import Any

import torch
from ignite.engine import create_supervised_evaluator, create_supervised_trainer
from ignite.handlers import EpochOutputStore
from ignite.metrics import Accuracy, Average
from networks import adam, call, loader_of, loss_of, network_of
from tasks import Run, Task, repeated


def make(task: Task, device: str) -> Run | None:
    """Return what does a task. There is no training on a single batch outside an engine."""
    if task.arguments or task.kind == "train-on-batch":
        return None
    network, loader = network_of(task).to(device), loader_of(task)
    if task.kind == "predict":
        return predict(network, loader, device)
    trainer = create_supervised_trainer(
        network,
        adam(network),
        loss_of(task),
        device,
        model_fn=call,
        output_transform=lambda x, y, outputs, loss: (outputs, y, loss.detach()),
    )
    Average(lambda output: output[2]).attach(trainer, "loss")
    if task.model == "two-by-two":
        Accuracy(lambda output: (output[0][0].detach(), output[1][0])).attach(trainer, "accuracy")
    elif task.classifies:
        Accuracy(lambda output: (output[0].detach(), output[1])).attach(trainer, "accuracy")
    if task.kind == "calls":
        return repeated(lambda: trainer.run(loader, max_epochs=1).metrics)
    return lambda times: trainer.run(loader, max_epochs=times).metrics


def predict(network: Any, loader: Any, device: str) -> Run:
    """Return what predicts, and keeps the outputs of an epoch."""
    evaluator = create_supervised_evaluator(
        network,
        device=device,
        prepare_batch=lambda batch, device, non_blocking: (batch[0].to(device), None),
        output_transform=lambda x, y, outputs: outputs,
    )
    kept = EpochOutputStore()
    kept.attach(evaluator)

    def once() -> object:
        evaluator.run(loader)
        return torch.cat(kept.data).cpu().numpy()

    return repeated(once)
