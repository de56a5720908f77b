"""`EarlyStopping`: ends a training that gets no better."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from torchkeras_fn.arguments import number, positive_integer
from torchkeras_fn.callbacks.monitoring import MonitorCallback
from torchkeras_fn.shards import whole

_STATE = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")


class EarlyStopping(MonitorCallback):
    """Ends the training when `monitor` has not become better for `patience` epochs.

    Better is better by more than `min_delta`, and than `baseline` where one is given. The first `start_from_epoch` epochs
    do not count. `restore_best_weights` gives the model the weights of its best epoch when training is over, however it
    came to its end; until then they are kept on the device. `verbose=1` says so. At which epoch it ended is
    `stopped_epoch`, counted from 0, and 0 where it did not.

    Raises `ValueError` for bad values, and for a figure that is not there as `MonitorCallback` says.

    >>> stopper = EarlyStopping("loss", patience=2, mode="min")
    >>> stopper.set_model(nn.Linear(2, 1))
    >>> stopper.on_train_begin()
    >>> for epoch, loss in enumerate([3.0, 1.0, 2.0, 1.5]):
    ...     stopper.on_epoch_end(epoch, {"loss": loss})
    >>> stopper.stopped_epoch, stopper.best_epoch
    (3, 1)
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: str = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ):
        super().__init__(monitor, mode, min_delta=min_delta)
        self.patience = positive_integer(patience, "patience", minimum=0)
        self.verbose = verbose
        self.baseline = None if baseline is None else number(baseline, "baseline")
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = positive_integer(start_from_epoch, "start_from_epoch", minimum=0)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.best_epoch = self.wait = self.stopped_epoch = 0
        self.best_weights: Any = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Begin anew."""
        self._reset()
        self._begin_monitoring()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Compare the figure with the best so far, and end the training where patience is over."""
        current = self.get_monitor_value(logs)
        if current is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        better = self._is_improvement(current, self.best)
        if better:
            self.best, self.best_epoch = current, epoch
        if self.restore_best_weights and (better or self.best_weights is None):
            self.best_weights, self.best_epoch = copy_of_weights(self.model), epoch
        if better and (self.baseline is None or self._is_improvement(current, self.baseline)):
            self.wait = 0
        elif not better and self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Any = None) -> None:
        """Restore the best weights, where that was asked for."""
        if self.stopped_epoch and self.verbose:
            self._print(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose:
                self._print(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            restore_weights(self.model, self.best_weights)

    def state_dict(self) -> dict[str, Any]:
        """Return the patience spent, and the best so far."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with the patience and the best of an earlier run."""
        for name in _STATE:
            setattr(self, name, state[name])


def copy_of_weights(model: Any) -> Any:
    """Return copies of all weights, on their device: a list in Keras' order and layout, for a plain module its `state_dict`.

    >>> len(copy_of_weights(nn.Linear(2, 1)))
    2
    """
    if hasattr(model, "named_weights"):
        return [weight.arranged(weight.tensor.detach()).clone() for weight in model.named_weights()]
    if isinstance(model, nn.Module):
        return {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in model.state_dict().items()}
    return model.get_weights()


def restore_weights(model: Any, weights: Any) -> None:
    """Give a model the weights of `copy_of_weights` back.

    >>> model = nn.Linear(2, 1)
    >>> restore_weights(model, {"weight": torch.ones(1, 2), "bias": torch.ones(1)})
    >>> model.bias.item()
    1.0
    """
    if hasattr(model, "named_weights"):
        with torch.no_grad():
            for weight, kept in zip(model.named_weights(), weights, strict=True):
                weight.write(whole(kept))
    elif isinstance(model, nn.Module):
        model.load_state_dict(weights)
    else:
        model.set_weights(weights)
