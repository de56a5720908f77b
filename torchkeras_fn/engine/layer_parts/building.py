"""How the `build` of a layer is called: with which shapes, and so that it does all of its work whoever calls it."""

import functools
import inspect
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn

from torchkeras_fn.engine.drawing.connections import shapes_of


def whole(build: Callable[..., Any]) -> Callable[..., Any]:
    """Return the `build` of a class as one that does all that building takes, where it is not called from within that.

    Keras' layers are built by hand, as in `self.dense.build(input_shape)`; here the torch module that `build` returns has to
    be taken over too: at once where the `build` of a user's class calls that of the layer it extends, whose weights it may go
    on to read, and whose module it need not return. Shapes of several inputs, in a tuple or one by one, reach a `build` of one
    argument as a list.

    >>> from torchkeras_fn.layers import Dense
    >>> layer = Dense(2)
    >>> layer.build((None, 3))
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer.built
    True
    """
    signature = inspect.signature(build)

    @functools.wraps(build)
    def built(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = tuple(map(_one_shape, args)), {name: _one_shape(value) for name, value in kwargs.items()}
        if self.builds_itself or self._is_being_built or self.built:
            made = build(self, *args, **kwargs)
            if isinstance(made, nn.Module) and self._is_being_built and _is_extended_by_user(type(self), built):
                self._take_over(made)
            return made
        if len(signature.parameters) > 2:
            given = signature.bind(self, *args, **kwargs)
            self._build(*given.args[1:], **given.kwargs)
        else:
            shapes: Any = [shape for shape in (*args, *kwargs.values()) if shape is not None]
            shapes = shapes[0] if len(shapes) == 1 else shapes or None
            are_several = isinstance(shapes, tuple) and bool(shapes) and all(isinstance(part, (tuple, list)) for part in shapes)
            self._build(list(shapes) if are_several else shapes)
        return self.module

    return built


def _one_shape(shape: Any) -> Any:
    """A shape whose sizes were given in a list, as a tuple, and those in a list of shapes too: a list is of several shapes."""
    if not isinstance(shape, list) or not shape:
        return shape
    is_one = all(size is None or isinstance(size, numbers.Integral) for size in shape)
    return tuple(shape) if is_one else [_one_shape(part) for part in shape]


def _is_extended_by_user(cls: Any, build: Any) -> bool:
    """Whether a `build` of this library's is the one that the `build` of a user's class calls as that of its base."""
    if not cls._is_users:
        return False
    builds = [(part._is_users, vars(part)["build"]) for part in cls.__mro__ if "build" in vars(part)]
    return builds[0][0] and build is next((found for is_users, found in builds if not is_users), None)


def further_shapes(cls: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the shapes of arguments of a call after the first that `build` asks for: `value_shape` is that of `value`.

    >>> class Pair:
    ...     def build(self, query_shape, value_shape): ...
    ...     def call(self, query, value): ...
    >>> import torch
    >>> further_shapes(Pair, [torch.ones(2, 3)], {"value": torch.ones(2, 4)})
    {'value_shape': (None, 4)}
    """
    asked = _shapes_asked_for(cls.build)  # type: ignore[attr-defined]
    if not asked:
        return {}
    given = inspect.signature(cls.call).bind_partial(None, *args, **kwargs).arguments  # type: ignore[attr-defined]
    shapes = {name: shapes_of(given.get(name.removesuffix("_shape"))) for name in asked}
    return {name: shape for name, shape in shapes.items() if shape is not None}


@functools.lru_cache(maxsize=256)
def _shapes_asked_for(build: Callable[..., Any]) -> list[str]:
    """The arguments after the first that a `build` takes shapes in."""
    return [name for name in list(inspect.signature(build).parameters)[2:] if name.endswith("_shape")]
