"""`Callback`, which reacts to what happens in training, and what tells whether it does at an event."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

EVENTS = tuple(f"on_{stage}_{edge}" for stage in ("train", "test", "predict", "epoch") for edge in ("begin", "end"))
BATCH_EVENTS = tuple(f"on_{stage}_batch_{edge}" for stage in ("train", "test", "predict") for edge in ("begin", "end"))
OLDER_EVENTS = ("on_batch_begin", "on_batch_end")

_Method = TypeVar("_Method", bound=Callable[..., Any])


class Callback:
    """A base for reactions to training. Override any event; `model` and `params` are set before the first.

    `params` holds `epochs`, `steps`, `samples`, `batch_size`, `verbose`, `do_validation`, and under `metrics` the names
    of the figures. `validation_data` is a sequence of numpy arrays where `fit` was given arrays to validate on: those of
    the inputs, of the targets, and of the sample weights. `companions` are all callbacks of the run in their order.

    `logs` are mappings of names to figures: those of a batch are running means over the epoch so far, and are
    turned into Python floats when they are read, which waits for the device.

    Where several processes train the model together, each has its callbacks, which are told the same at the end of an
    epoch; one that prints or writes files should do so where `self.model.is_first_process`.

    >>> class Shout(Callback):
    ...     def on_epoch_end(self, epoch, logs=None):
    ...         print(f"epoch {epoch} is over")
    >>> Shout().on_epoch_end(3)
    epoch 3 is over
    """

    model: Any = None
    params: dict[str, Any] = {}
    validation_data: Any = None
    companions: Sequence[Any] = ()

    def __getstate__(self) -> dict[str, Any]:
        """A copy leaves the other callbacks and the validation data behind."""
        return {name: value for name, value in self.__dict__.items() if name not in ("companions", "validation_data")}

    @property
    def _speaks(self) -> bool:
        """Whether this process prints and writes for all."""
        return bool(getattr(self.model, "is_first_process", True))

    def _print(self, text: str) -> None:
        if self._speaks:
            print(text)

    def set_model(self, model: Any) -> None:
        """Note the model."""
        self.model = model

    def set_params(self, params: dict[str, Any]) -> None:
        """Note the number of epochs and steps, and the verbosity."""
        self.params = params

    def state_dict(self) -> dict[str, Any]:
        """Return what a training that is taken up again must know: numbers, strings, `None`, tensors, arrays, lists and dicts of them."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` returned; called after `on_train_begin`, which begins anew."""

    def on_train_begin(self, logs: Any = None) -> None:
        """React to the start of `fit`."""

    def on_train_end(self, logs: Any = None) -> None:
        """React to the end of `fit`, with the figures of its last epoch."""

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
        """React after a predicted batch; `logs["outputs"]` are its outputs as tensors (with `steps_per_execution`, the last ones)."""


def only_if(wanted: Callable[[Any], Any]) -> Callable[[_Method], _Method]:
    """Mark an event of a callback as one it need not be told of, unless `wanted(callback)`.

    >>> class Saver(Callback):
    ...     every_batch = False
    ...     @only_if(lambda self: self.every_batch)
    ...     def on_train_batch_end(self, batch, logs=None): ...
    >>> overrides(Saver(), "on_train_batch_end")
    False
    """

    def mark(method: _Method) -> _Method:
        method.only_if = wanted  # type: ignore[attr-defined]
        return method

    return mark


def overrides(callback: Any, event: str) -> bool:
    """Return whether a callback does something at an event. Keras marks the methods of its own base that do nothing."""
    method = getattr(callback, event, None)
    function = getattr(method, "__func__", method)
    if function is None or function is getattr(Callback, event, None) or getattr(function, "_is_default", False):
        return False
    wanted = getattr(function, "only_if", None)
    return wanted is None or bool(wanted(callback))
