"""What stands in for a model where a callback is driven by hand."""

from typing import Any


class StandIn:
    """A model that only notes what callbacks do to it; its weights are whatever was set last."""

    def __init__(self, optimizer: Any = None) -> None:
        self.optimizer = optimizer
        self.stop_training = False
        self.weights: Any = None
        self.saved: list[tuple[str, str]] = []

    def get_weights(self) -> Any:
        return self.weights

    def set_weights(self, weights: Any) -> None:
        self.weights = weights

    def save(self, filepath: str, overwrite: bool = True) -> None:
        self.saved.append(("save", filepath))

    def save_weights(self, filepath: str, overwrite: bool = True) -> None:
        self.saved.append(("save_weights", filepath))


def drive(callback: Any, epochs: Any, model: Any = None, **params: Any) -> Any:
    """Let a callback see these logs, an epoch each, until it stops the training; return the model."""
    model = model or StandIn()
    callback.set_model(model)
    callback.set_params(params)
    callback.on_train_begin()
    for epoch, logs in enumerate(epochs):
        model.weights = epoch
        callback.on_epoch_begin(epoch)
        callback.on_epoch_end(epoch, dict(logs))
        if model.stop_training:
            break
    callback.on_train_end()
    return model
