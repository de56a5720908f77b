"""Names that torch's modules, or layers and models here, have taken and programs use for things of their own.

Such as `train`, the loop of many, by which torch switches the mode, or `graph`.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from torchkeras_fn.origin import is_ours

_METHODS = frozenset(
    ("train", "forward")
    + ("parameters", "buffers", "modules", "children", "named_parameters", "named_buffers", "named_modules", "named_children")
)
"""Methods of torch's modules by which models are run, trained and saved."""
_KEPT = {"module": "the torch module that it runs", "_nodes": "its calls on symbolic tensors"}
"""What every layer keeps under names that a user's class might take; a model keeps more."""
_KEPT_BY_MODELS = {"graph": "its graph", "_graph": "its graph", "lowered": "its inference view", "objective": "what it is compiled with"}
NEEDED = _METHODS | _KEPT.keys() | _KEPT_BY_MODELS.keys()
"""The names that a class of the user's cannot have for any value."""


def as_method(module: nn.Module, name: str, value: Any) -> Any:
    """Return what a module is given under one of the names `NEEDED`.

    Raises `ValueError` for what cannot be called, in the place of a method, and for what is not this library's, in the place of
    what the library keeps.

    >>> as_method(nn.Linear(2, 1), "parameters", {"alpha": 0.5})
    Traceback (most recent call last):
        ...
    ValueError: 'parameters' is a method that every torch module needs, so Linear cannot keep {'alpha': 0.5} as that: give the \
attribute another name.
    """
    if name not in _METHODS:
        kept = {**_KEPT, **_KEPT_BY_MODELS} if hasattr(type(module), "lowered") else _KEPT
        if name in kept and (not _is_kept_here(value) or isinstance(getattr(type(module), name, None), property)):
            raise ValueError(
                f"{type(module).__name__} keeps {kept[name]} as {name!r}, so it cannot keep {repr(value):.100} as that: "
                "give the attribute another name."
            )
        return value
    if not callable(value):
        raise ValueError(
            f"{name!r} is a method that every torch module needs, so {type(module).__name__} cannot keep {repr(value):.100} as that: "
            "give the attribute another name."
        )
    return bound_with_mode_switch(module, value) if name == "train" else value


def _is_kept_here(value: Any) -> bool:
    """Whether a value is what this library keeps: of a class of its own, a list of such, or nothing yet."""
    if isinstance(value, list):
        return all(map(_is_kept_here, value))
    return value is None or is_ours(type(value))


class Yielding:
    """A property that a class of the user's may have for something of its own: the attribute takes its place.

    >>> class Coder(nn.Module):
    ...     @Yielding
    ...     @property
    ...     def code(self):
    ...         return "written by the library"
    >>> coder, other = Coder(), Coder()
    >>> other.code = nn.Linear(2, 1)
    >>> coder.code, other.code
    ('written by the library', Linear(in_features=2, out_features=1, bias=True))
    """

    def __init__(self, own: Any):
        self._own, self.__doc__ = own, own.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return what the user keeps under the name: torch has modules and weights in tables of their own; else what is read."""
        if instance is None:
            return self
        for kind in ("_modules", "_parameters", "_buffers"):
            if self._name in instance.__dict__.get(kind, ()):
                return instance.__dict__[kind][self._name]
        return self._own.__get__(instance, owner)


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


def parts_in_the_way(kind: type, taken: type, module: nn.Module) -> dict[str, Any]:
    """Return the parts of a module under names that `taken` has, of which a `forward` of the user's class `kind` would find that instead.

    >>> parts_in_the_way(nn.Sequential, nn.Sequential, nn.Sequential())  # which has no forward of the user's
    {}
    """
    if not any(_is_written(getattr(kind, name, None)) for name in ("forward", "call")):
        return {}
    parts = {**module._parameters, **module._buffers, **module._modules}
    return {name: part for name, part in parts.items() if hasattr(taken, name) and not hasattr(nn.Module, name)}


def _is_written(method: Any) -> bool:
    """Whether a method is a user's, neither this library's nor torch's."""
    return method is not None and not is_ours(method) and not str(method.__module__).startswith("torch.")
