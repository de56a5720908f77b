"""Optimizers: torch's, under Keras' names and with Keras' defaults."""

import sys
from collections.abc import Mapping
from typing import Any

import torch

from torchkeras_fn.absent import optimizer as __getattr__  # noqa: F401 - Python asks it for names that are not here
from torchkeras_fn.optimizers import legacy, moments, schedules
from torchkeras_fn.optimizers.around import AroundSteps
from torchkeras_fn.optimizers.base import Optimizer
from torchkeras_fn.optimizers.descent import SGD, Adadelta, Adafactor, Adagrad, Ftrl, RMSprop
from torchkeras_fn.optimizers.foreign import Hold, check, is_torch_factory, takes_closure
from torchkeras_fn.optimizers.loss_scale import LossScaleOptimizer, registry
from torchkeras_fn.optimizers.moments import Adam, Adamax, AdamW, Lamb, Lion, Nadam
from torchkeras_fn.optimizers.moving import follow_parameters
from torchkeras_fn.optimizers.muon import Muon
from torchkeras_fn.optimizers.scaling import Scaling

__all__ = [
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "AroundSteps",
    "Ftrl",
    "Hold",
    "Lamb",
    "Lion",
    "LossScaleOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "SGD",
    "Scaling",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "check",
    "deserialize",
    "follow_parameters",
    "get",
    "is_torch_factory",
    "legacy",
    "nadam",
    "registry",
    "rmsprop",
    "schedules",
    "serialize",
    "sgd",
    "takes_closure",
]

adadelta, adagrad, adam, adamax, nadam, rmsprop, sgd = Adadelta, Adagrad, Adam, Adamax, Nadam, RMSprop, SGD
"""Keras 2's other names of the classes."""

# `from torchkeras_fn.optimizers.adam import Adam`, as from Keras 3's file of that name; a file here would hide the class `adam`.
sys.modules[f"{__name__}.adam"] = moments

for _kind in (Adadelta, Adafactor, Adagrad, Adam, AdamW, Adamax, Ftrl, Lamb, Lion, LossScaleOptimizer, Muon, Nadam, RMSprop, SGD):
    registry.register(_kind.__name__, _kind)


def get(identifier: Any) -> Any:
    """Return an `Optimizer` for a name, a config or a class; a torch optimizer, class or `partial` is given back as it is.

    Raises `ValueError` for anything else, and for an unknown name with the nearest known one.

    >>> get("adam").learning_rate
    0.001
    """
    if isinstance(identifier, (Optimizer, torch.optim.Optimizer)) or is_torch_factory(identifier):
        return identifier
    if identifier is None or not isinstance(identifier, (str, Mapping, type)):
        raise ValueError(
            f"Expected an optimizer's name, an Optimizer, or a torch.optim optimizer, class or functools.partial; "
            f"got {identifier!r} of type {type(identifier).__name__}."
        )
    found = registry.get(identifier)
    if not isinstance(found, (Optimizer, torch.optim.Optimizer)):
        raise ValueError(f"{identifier!r} is not an optimizer.")
    return found


def serialize(optimizer: Any) -> Any:
    """Return the config that `deserialize` turns back into the optimizer.

    >>> serialize(Adam())["class_name"]
    'Adam'
    """
    return registry.serialize(optimizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the optimizer that `serialize` described.

    >>> deserialize({"class_name": "SGD", "config": {"learning_rate": 0.5}}).lr
    0.5
    """
    return registry.deserialize(config, custom_objects)
