"""`Callback`, which reacts to what happens in training, and `CallbackList`, which tells all callbacks."""

from collections.abc import Callable, Iterable
from typing import Any

EVENTS = tuple(f"on_{stage}_{edge}" for stage in ("train", "test", "predict", "epoch") for edge in ("begin", "end"))
BATCH_EVENTS = tuple(f"on_{stage}_batch_{edge}" for stage in ("train", "test", "predict") for edge in ("begin", "end"))


class Callback:
    """A base for reactions to training. Override any event; `model` and `params` are set before the first.

    `logs` are mappings of names to figures: those of a batch are running means over the epoch so far, and are
    turned into Python floats when they are read, which waits for the device.

    >>> class Shout(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch} is over")
    >>> Shout().on_epoch_end(3)
    epoch 3 is over
    """

    model: Any = None
    params: dict[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Note the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Note the number of epochs and steps, and the verbosity."""
        self.params = params

    def on_train_begin(self, logs: Any = None) -> None:
        """React to the start of `fit`."""

    def on_train_end(self, logs: Any = None) -> None:
        """React to the end of `fit`."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """React to the start of an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """React to the end of an epoch, with its figures and those of the validation."""

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """React before a training batch."""

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """React after a training batch."""

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """React before a training batch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """React after a training batch."""
        self.on_batch_end(batch, logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """React to the start of an evaluation."""

    def on_test_end(self, logs: Any = None) -> None:
        """React to the end of an evaluation."""

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """React before an evaluated batch."""

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """React after an evaluated batch."""

    def on_predict_begin(self, logs: Any = None) -> None:
        """React to the start of a prediction."""

    def on_predict_end(self, logs: Any = None) -> None:
        """React to the end of a prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """React before a predicted batch."""

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """React after a predicted batch."""


class CallbackList:
    """Callbacks that are told of each event in their order; those that do not override an event are not called.

    >>> CallbackList([Callback()], model=None).listeners("on_train_batch_end")
    []
    """

    def __init__(self, callbacks: Iterable[Any] = (), model: Any = None, params: dict[str, Any] | None = None):
        self.callbacks = list(callbacks)
        for callback in self.callbacks:
            if not hasattr(callback, "set_model"):
                raise TypeError(f"Expected a Callback, got {callback!r} of type {type(callback).__name__}.")
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params or {})

    def append(self, callback: Any) -> None:
        """Add a callback at the end."""
        self.callbacks.append(callback)

    def listeners(self, event: str) -> list[Callable[..., None]]:
        """Return the methods that override an event."""
        older = event.replace("_train_batch_", "_batch_")
        told = [callback for callback in self.callbacks if overrides(callback, event) or overrides(callback, older)]
        return [getattr(callback, event, None) or getattr(callback, older) for callback in told]

    def tell(self, event: str, *args: Any) -> None:
        """Tell every callback that overrides the event."""
        for listener in self.listeners(event):
            listener(*args)


def overrides(callback: Any, event: str) -> bool:
    """Return whether a callback does something at an event."""
    method = getattr(callback, event, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(Callback, event, None)
