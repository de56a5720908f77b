"""`LambdaCallback`: a callback made of functions."""

from collections.abc import Callable
from typing import Any

from torchkeras_fn.callbacks.callback import BATCH_EVENTS, EVENTS, OLDER_EVENTS, Callback


class LambdaCallback(Callback):
    """Calls a function at each event that was given one: `(epoch, logs)`, `(batch, logs)`, or `(logs)` elsewhere.

    Further keywords are the other events of `Callback`, `on_batch_end` and `on_test_begin` among them; other names become
    attributes. Raises `TypeError` for what is no function, and `ValueError` for an `on_...` that is no event.

    >>> LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"])).on_epoch_end(0, {"loss": 0.5})
    0 0.5
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **kwargs: Any,
    ):
        named = {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        known = (*EVENTS, *BATCH_EVENTS, *OLDER_EVENTS)
        for event, function in {**named, **kwargs}.items():
            if event.startswith("on_") and event not in known:
                raise ValueError(f"{event!r} is no event. The events are {', '.join(known)}.")
            if event in known and function is not None and not callable(function):
                raise TypeError(f"{event!r} must be a function, got {function!r} of type {type(function).__name__}.")
            if function is not None or event not in known:
                setattr(self, event, function)
