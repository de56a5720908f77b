"""Names that torch's modules have taken and Keras programs use: `train`, the loop of many, by which torch switches the mode, and others."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

NEEDED = frozenset(
    ("train", "forward")
    + ("parameters", "buffers", "modules", "children", "named_parameters", "named_buffers", "named_modules", "named_children")
)
"""Methods of torch's modules by which models are run, trained and saved."""


def as_method(module: nn.Module, name: str, value: Any) -> Any:
    """Return what a module is given in the place of one of the methods `NEEDED`. Raises `ValueError` for what cannot be called.

    >>> as_method(nn.Linear(2, 1), "parameters", {"alpha": 0.5})
    Traceback (most recent call last):
        ...
    ValueError: 'parameters' is a method that every torch module needs, so Linear cannot keep {'alpha': 0.5} as that: give the \
attribute another name.
    """
    if not callable(value):
        raise ValueError(
            f"{name!r} is a method that every torch module needs, so {type(module).__name__} cannot keep {repr(value):.100} as that: "
            "give the attribute another name."
        )
    return bound_with_mode_switch(module, value) if name == "train" else value


def with_mode_switch(train: Any) -> Any:
    """Return what a class has as `train` as one that switches the mode too, where it is called with a mode and takes none.

    Unless the mode reached the modules inside, they would run as in training when they predict; and torch would start the loop.

    >>> class Program(nn.Module):
    ...     @with_mode_switch
    ...     def train(self, epochs, batch_size=32):
    ...         return f"{epochs} epochs"
    >>> program = Program()
    >>> program.train(3), program.eval().training
    ('3 epochs', False)
    """
    if not (callable(train) or isinstance(train, (staticmethod, classmethod))) or _takes_mode(getattr(train, "__func__", train)):
        return train

    @functools.wraps(getattr(train, "__func__", train))
    def either(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return train_or_switch(self, train.__get__(self, type(self)) if hasattr(train, "__get__") else train, *args, **kwargs)

    return either


def bound_with_mode_switch(module: nn.Module, train: Any) -> Any:
    """Return what a module is given as its attribute `train` likewise: `model.train = types.MethodType(train, model)`.

    >>> module = nn.Sequential(nn.Dropout())
    >>> module.train = bound_with_mode_switch(module, lambda images, epochs=5: "trained")
    >>> module.train("images"), module.eval()[0].training
    ('trained', False)
    """
    return functools.partial(train_or_switch, module, train) if callable(train) and not _takes_mode(train) else train


def train_or_switch(module: nn.Module, train: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Switch the mode of a module where a mode alone is given, as torch does; else call `train`."""
    is_mode = kwargs.keys() == {"mode"} if not args else len(args) == 1 and isinstance(args[0], bool) and not kwargs
    return nn.Module.train(module, *args, **kwargs) if is_mode else train(*args, **kwargs)


def _takes_mode(train: Callable[..., Any]) -> bool:
    """Whether a `train` is torch's, or a variant of it, which says `mode` or takes whatever comes."""
    try:
        parameters = inspect.signature(train).parameters.values()
    except (ValueError, TypeError):  # written in C
        return True
    is_open = [parameter.kind for parameter in parameters] == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]
    return is_open or any(parameter.name == "mode" for parameter in parameters)
