"""Objects that can be written down as the arguments they were made with."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from torchkeras_fn.registry import get_registered_name


def constructor_arguments(instance: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a constructor call by name, defaults included, as plain values.

    Raises `NotImplementedError` where values were taken up by a `*args`: they have no name to be written under.

    >>> class Pair:
    ...     def __init__(self, first, second=2): ...
    >>> constructor_arguments(Pair(1), (1,), {})
    {'first': 1, 'second': 2}
    """
    signature = inspect.signature(type(instance).__init__)
    bound = signature.bind(instance, *args, **kwargs)
    bound.apply_defaults()
    found: dict[str, Any] = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            if value:
                kind_of = type(instance).__name__
                raise NotImplementedError(f"{kind_of} takes *{name}, which have no names: override get_config and from_config.")
        else:
            found[name] = value
    if found.get("data_format", "") is None:  # what was chosen for it holds, also where another default is in force when this is read
        found["data_format"] = getattr(instance, "data_format", None)
    return {name: plain(value) for name, value in found.items()}


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it, as far as it can: tuples as lists, numpy numbers as Python's, objects as configs.

    >>> plain((np.float32(0.5), torch.float32))
    [0.5, 'float32']
    """
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "get_config"):
        return {"class_name": get_registered_name(type(value)), "config": value.get_config()}
    return value


class Configurable:
    """A base whose `get_config` returns the constructor's arguments, which `from_config` makes an equal object of.

    >>> class Point(Configurable):
    ...     def __init__(self, x, y=0): ...
    >>> Point(3).get_config()
    {'x': 3, 'y': 0}
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        self._arguments = (args, kwargs)
        return self

    def __init__(self) -> None:
        """Take no arguments, unless overridden."""

    def __repr__(self) -> str:
        """The call that made the object: `SGD(0.1, momentum=0.9)`."""
        args, kwargs = self._arguments
        return f"{type(self).__name__}({', '.join([*map(repr, args), *(f'{name}={value!r}' for name, value in kwargs.items())])})"

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments by name, defaults included."""
        return constructor_arguments(self, *self._arguments)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new object made with the arguments that `get_config` returned."""
        return cls(**config)
