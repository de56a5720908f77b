"""Lightning: one `Trainer` in its barebones mode, which its documentation recommends for measuring, on the usual loader.

In that mode nothing is logged, so the module adds up the loss and the accuracy itself.
"""

import logging
import warnings
from typing import Any

import lightning
import torch
from networks import adam, call, loader_of, loss_of, network_of, right_of
from tasks import Run, Task, repeated


class Module(lightning.LightningModule):
    """A network with the loss and the count of a task."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.network, self.loss_of, self.right_of = network_of(task), loss_of(task), right_of(task)
        self.register_buffer("total_loss", torch.zeros(()))
        self.register_buffer("total_right", torch.zeros((), dtype=torch.int64))

    def configure_optimizers(self) -> Any:
        """Return the optimizer."""
        return adam(self.network)

    def training_step(self, batch: Any, number: int) -> Any:
        """Return the loss of a batch."""
        inputs, targets = batch
        outputs = call(self.network, inputs)
        loss = self.loss_of(outputs, targets)
        self.total_loss += loss.detach()
        if self.right_of is not None:
            self.total_right += self.right_of(outputs, targets)
        return loss

    def predict_step(self, batch: Any, number: int) -> Any:
        """Return the outputs of a batch."""
        return self.network(batch[0])


def make(task: Task, device: str) -> Run | None:
    """Return what does a task. There is no training on a single batch outside a `Trainer`."""
    if task.arguments or task.kind == "train-on-batch":
        return None
    warnings.filterwarnings("ignore", module="lightning")  # advice on workers, and what the barebones mode leaves out
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    module, loader = Module(task), loader_of(task)
    trainer = lightning.Trainer(accelerator=device if device == "cpu" else "gpu", devices=1, max_epochs=0, barebones=True)
    if task.kind == "predict":
        return repeated(lambda: torch.cat(trainer.predict(module, loader)).cpu().numpy())

    def run(times: int) -> object:
        assert trainer.fit_loop.max_epochs is not None
        trainer.fit_loop.max_epochs += times
        trainer.fit(module, loader)
        return module.total_loss.item(), module.total_right.item()

    return repeated(lambda: run(1)) if task.kind == "calls" else run
