"""`CallbackList`, which tells all callbacks of a run what happens."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch.optim.lr_scheduler import LRScheduler

from torchkeras_fn.callbacks.callback import BATCH_EVENTS, EVENTS, OLDER_EVENTS, Callback, overrides
from torchkeras_fn.callbacks.history import History
from torchkeras_fn.callbacks.learning_rate_scheduler import LearningRateScheduler
from torchkeras_fn.callbacks.progress import ProgbarLogger
from torchkeras_fn.engine.basics.logs import Logs

__all__ = ["BATCH_EVENTS", "EVENTS", "Callback", "CallbackList", "overrides"]


class CallbackList(Callback):
    """Callbacks that are told of each event in their order; those that do not override an event are not called.

    `fit` makes one of what it is given. In a loop of your own, call its events: they tell the callbacks. Anything with
    one of the events for a method is a callback. `add_history` and `add_progbar` add a `History` and a `ProgbarLogger`
    where there is none. Further keywords are `params`, as in `CallbackList(callbacks, model=model, epochs=3)`.

    Raises `TypeError` for what is no callback.

    >>> callbacks = CallbackList([Callback()], add_history=True, epochs=1)
    >>> callbacks.on_train_begin()
    >>> callbacks.on_epoch_end(0, {"loss": 0.5})
    >>> callbacks.callbacks[-1].history
    {'loss': [0.5]}
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        params: Mapping[str, Any] | None = None,
        **more_params: Any,
    ):
        self.callbacks: list[Any] = []
        for callback in _flat(callbacks):
            self.append(callback)
        for kind, wanted in ((History, add_history), (ProgbarLogger, add_progbar)):
            if wanted and not any(isinstance(callback, kind) for callback in self.callbacks):
                self.append(kind())
        if model is not None:
            self.set_model(model)
        if params or more_params:
            self.set_params({**(params or {}), **more_params})

    def __iter__(self) -> Iterator[Any]:
        return iter(self.callbacks)

    def append(self, callback: Any) -> None:
        """Add a callback at the end; a torch schedule is stepped after each epoch. Raises `TypeError` for what is none."""
        if isinstance(callback, LRScheduler):
            callback = LearningRateScheduler(callback)
        if isinstance(callback, type):
            raise TypeError(f"Expected a Callback, got the class {callback.__name__}. Make an object of it: {callback.__name__}(...).")
        if not isinstance(callback, Callback) and not _listens(callback):
            advice = " LambdaCallback(on_epoch_end=function) makes one of a function." if callable(callback) else ""
            raise TypeError(f"Expected a Callback, got {callback!r} of type {type(callback).__name__}.{advice}")
        self.callbacks.append(callback)
        if isinstance(callback, Callback):
            callback.companions = self.callbacks

    def set_model(self, model: Any) -> None:
        """Tell every callback the model."""
        super().set_model(model)
        for callback in self.callbacks:
            if hasattr(callback, "set_model"):
                callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Tell every callback the number of epochs and steps, and the verbosity."""
        super().set_params(params)
        for callback in self.callbacks:
            if hasattr(callback, "set_params"):
                callback.set_params(params)

    def set_validation_data(self, data: Any) -> None:
        """Show the callbacks what there is to validate on; `None` for nothing."""
        for callback in self.callbacks:
            if isinstance(callback, Callback):
                callback.validation_data = data

    def listeners(self, event: str) -> list[Callable[..., None]]:
        """Return the methods that override an event."""
        older = event.replace("_train_batch_", "_batch_")
        found = []
        for callback in self.callbacks:
            if overrides(callback, event) or (older != event and overrides(callback, older)):
                found.append(getattr(callback, event, None) or getattr(callback, older))
        return found

    def tell(self, event: str, *args: Any) -> None:
        """Tell every callback that overrides the event."""
        for listener in self.listeners(event):
            listener(*args)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every callback, in their order."""
        return {"callbacks": [[type(one).__name__, one.state_dict() if hasattr(one, "state_dict") else {}] for one in self.callbacks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give every callback its state back; those that have none may be others than before.

        Raises `ValueError` where the state is that of other callbacks.
        """
        saved = [(name, own) for name, own in state["callbacks"] if own]
        stateful = [callback for callback in self.callbacks if hasattr(callback, "state_dict") and callback.state_dict()]
        names, here = [name for name, _ in saved], [type(callback).__name__ for callback in stateful]
        if names != here:
            raise ValueError(f"The state is that of the callbacks {names}, but these are {here}. Give the same ones in the same order.")
        for callback, (_, own) in zip(stateful, saved, strict=True):
            callback.load_state_dict(own)

    # ------------------------------------------------------------------ events, for loops of one's own

    def on_train_begin(self, logs: Any = None) -> None:
        """Tell that training begins."""
        self.tell("on_train_begin", _read(logs))

    def on_train_end(self, logs: Any = None) -> None:
        """Tell that training has ended."""
        self.tell("on_train_end", _read(logs))

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Tell that an epoch begins."""
        self.tell("on_epoch_begin", epoch, _read(logs))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Tell that an epoch has ended, and its figures."""
        self.tell("on_epoch_end", epoch, _read(logs))

    def on_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell that a training batch begins, under Keras 2's name."""
        self.on_train_batch_begin(batch, logs)

    def on_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell that a training batch has ended, under Keras 2's name."""
        self.on_train_batch_end(batch, logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell that a training batch begins."""
        self.tell("on_train_batch_begin", batch, _read(logs))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell that a training batch has ended, and the figures so far."""
        self.tell("on_train_batch_end", batch, _read(logs))

    def on_test_begin(self, logs: Any = None) -> None:
        """Tell that an evaluation begins."""
        self.tell("on_test_begin", _read(logs))

    def on_test_end(self, logs: Any = None) -> None:
        """Tell that an evaluation has ended, and its figures."""
        self.tell("on_test_end", _read(logs))

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell that an evaluated batch begins."""
        self.tell("on_test_batch_begin", batch, _read(logs))

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell that an evaluated batch has ended."""
        self.tell("on_test_batch_end", batch, _read(logs))

    def on_predict_begin(self, logs: Any = None) -> None:
        """Tell that a prediction begins."""
        self.tell("on_predict_begin", _read(logs))

    def on_predict_end(self, logs: Any = None) -> None:
        """Tell that a prediction has ended."""
        self.tell("on_predict_end", _read(logs))

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Tell that a predicted batch begins."""
        self.tell("on_predict_batch_begin", batch, _read(logs))

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Tell that a predicted batch has ended."""
        self.tell("on_predict_batch_end", batch, _read(logs))


def _listens(callback: Any) -> bool:
    return any(callable(getattr(callback, event, None)) for event in (*EVENTS, *BATCH_EVENTS, *OLDER_EVENTS))


def _flat(callbacks: Any) -> list[Any]:
    """Return the callbacks in lists of lists and in other `CallbackList`s; one alone needs no list."""
    found: list[Any] = []
    ahead = [callbacks]
    while ahead:
        part = ahead.pop()
        if isinstance(part, (list, tuple, CallbackList)):
            ahead += reversed(part.callbacks if isinstance(part, CallbackList) else part)
        elif part is not None:
            found.append(part)
    return found


def _read(logs: Any) -> Logs:
    """Return figures as callbacks read them."""
    return logs if isinstance(logs, Logs) else Logs(logs or {})
