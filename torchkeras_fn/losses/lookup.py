"""From a name, a config, a function or an object to the loss, and back."""

import functools
import inspect
from collections.abc import Mapping
from typing import Any

from torchkeras_fn.losses.base import Loss
from torchkeras_fn.losses.functions import ALIASES, CLASSES, FUNCTIONS
from torchkeras_fn.losses.probabilistic import BinaryCrossentropy
from torchkeras_fn.losses.wrappers import FunctionLoss, TorchLoss, check_no_layer, in_torch_order, warn_of_order
from torchkeras_fn.registry import Registry, custom_object_scope

registry = Registry("loss", CLASSES, ALIASES)


def get(identifier: Any) -> Any:
    """Return a loss as Keras does: the function for the name of a function, a `Loss` for a class, its name or a config.

    A torch loss becomes one that is called with targets first; else what can be called is given back as it is, and so is
    `None`. Raises `ValueError` for an unknown name, with the nearest known one.

    >>> get("mse").__name__, type(get("MeanSquaredError")).__name__
    ('mean_squared_error', 'MeanSquaredError')
    """
    if isinstance(identifier, str):
        found = registry.find(identifier)
        function = next((function for function, loss in FUNCTIONS.items() if loss is found), None)
        if function is not None and identifier != found.__name__:
            return function
    found = registry.get(identifier)
    check_no_layer(found, "loss")
    warn_of_order(found, "loss")
    return TorchLoss(found) if in_torch_order(found) else found


def as_loss(identifier: Any) -> Any:
    """Return a `Loss` for all that `get` takes, functions included; `None` stays `None`. Raises `ValueError` as `get` does.

    >>> type(as_loss("mse")).__name__
    'MeanSquaredError'
    """
    found = get(identifier)
    if isinstance(found, Loss):
        return found if type(found).__call__ is Loss.__call__ else FunctionLoss(found, name=found.name)
    if found is None:
        return None
    partial = isinstance(found, functools.partial) and not found.args
    function, options = (found.func, found.keywords) if partial else (found, {})
    if inspect.isfunction(function) and function in FUNCTIONS and not {"ref_labels", "ref_embeddings"} & options.keys():
        return FUNCTIONS[function](**options)
    return FunctionLoss(found)


def is_binary(loss: Any) -> bool:
    """Return whether a loss is a binary crossentropy, ours or torch's: each value of an output is a yes or no.

    >>> is_binary(BinaryCrossentropy()), is_binary(as_loss("mse"))
    (True, False)
    """
    return isinstance(loss, BinaryCrossentropy) or (isinstance(loss, TorchLoss) and loss.is_binary)


def is_known(loss: Any) -> bool:
    """Return whether a loss is this library's or torch's, which go by the values of the predictions: a user's may ask how they came to be.

    >>> is_known(BinaryCrossentropy()), is_known(as_loss(lambda y_true, y_pred: y_pred))
    (True, False)
    """
    maker = loss.function if isinstance(loss, TorchLoss) else loss
    home = str(getattr(maker, "__module__", None) or type(maker).__module__)
    return home.partition(".")[0] in ("torch", __name__.partition(".")[0]) and not isinstance(loss, FunctionLoss)


def serialize(loss: Any) -> Any:
    """Return the name or config that `deserialize` turns back into the loss: a name for a function, a dict for an object.

    >>> serialize(get("MeanSquaredError"))["class_name"], serialize(get("mse"))
    ('MeanSquaredError', 'mean_squared_error')
    """
    if isinstance(loss, (FunctionLoss, TorchLoss)):
        loss = loss.function
    if inspect.isfunction(loss) and loss in FUNCTIONS:
        return loss.__name__
    return registry.serialize(loss)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the loss that `serialize` described.

    >>> deserialize({"class_name": "Huber", "config": {"delta": 2.0}}).delta
    2.0
    """
    with custom_object_scope(custom_objects or {}):
        return get(config)
