"""`Made`: how a layer is made of its constructor's arguments, and made again of the configuration that they are written to."""

import inspect
from abc import ABCMeta
from collections.abc import Mapping
from typing import Any

from torchkeras_fn.configurable import constructor_arguments


class _NamesItself(ABCMeta):
    """Lets what a constructor says of its arguments begin with the layer that was to be made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            made = super().__call__(*args, **kwargs)
        except (ValueError, TypeError) as error:
            if cls.__name__ in str(error):
                raise
            name = kwargs.get("name")
            kind = ValueError if isinstance(error, ValueError) else TypeError
            raise kind(f"{f'{name} ({cls.__name__})' if name else cls.__name__}: {error}") from error
        if isinstance(made, Made) and "given_name" not in vars(made):
            raise RuntimeError(f"{cls.__name__}.__init__ has to call super().__init__().")
        return made

    @property
    def __signature__(cls) -> inspect.Signature:
        """What `help()` and editors show: the constructor's arguments, as without a `__call__` here."""
        own = inspect.signature(cls.__init__)  # type: ignore[misc]
        return own.replace(parameters=list(own.parameters.values())[1:])


class Made(metaclass=_NamesItself):
    """The part of a layer that knows what it was made of.

    >>> from torchkeras_fn.layers import Flatten
    >>> Flatten.from_config(Flatten(name="flat").get_config())
    <Flatten flat>
    """

    given_name: str | None
    _trainable: bool
    _arguments: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_arguments", (args, kwargs))
        return self

    def get_config(self: Any) -> dict[str, Any]:
        """Return the constructor's arguments, defaults included, as plain values: `from_config` makes an equal layer of them."""
        arguments = constructor_arguments(self, *self._arguments)
        arguments.pop("weights", None)
        return {**arguments, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer with the arguments that `get_config` returned; `name` and `trainable` even if the constructor lacks them."""
        parameters = inspect.signature(cls.__init__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return cls(**config)
        left_out = {key: config[key] for key in ("name", "trainable") if key in config and key not in parameters}
        layer = cls(**{key: value for key, value in config.items() if key not in left_out})
        layer.given_name = left_out.get("name", layer.given_name)
        layer._trainable = left_out.get("trainable", layer._trainable)
        return layer
