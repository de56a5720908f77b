"""`Chosen`: what `compile` was given, as an attribute of the model."""

from typing import Any

from torch import nn


class Chosen:
    """An attribute under whose name `compile` takes an argument. One of the user's by that name goes first.

    Raises `AttributeError` before `compile`.

    >>> from torchkeras_fn import Sequential
    >>> from torchkeras_fn.layers import Dense
    >>> model = Sequential([Dense(1, input_shape=(3,))])
    >>> model.compile("sgd", "mse")
    >>> model.loss
    'mse'
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, model: Any, owner: type) -> Any:
        if model is None:
            return self
        try:
            return nn.Module.__getattr__(model, self._name)
        except AttributeError:
            if model.objective is None:
                raise
            return model.objective.settings[self._name]
