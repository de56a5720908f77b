"""`Made`: how a layer is made of its constructor's arguments, and made again of the configuration that they are written to."""

import difflib
import inspect
from abc import ABCMeta
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from torchkeras_fn.configurable import constructor_arguments, plain
from torchkeras_fn.engine.layer_parts.keras_words import arguments_of
from torchkeras_fn.engine.symbolic import is_symbolic
from torchkeras_fn.origin import is_ours

_MISSPELT = 0.85
"""How alike two names of arguments are, of which one may be the other misspelt."""
_MOST_NEAR = 4
"""How many arguments an error message may offer as what was meant, before it lists all."""


class _NamesItself(ABCMeta):
    """Lets what a constructor says of its arguments begin with the layer that was to be made."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        try:
            made = super().__call__(*args, **kwargs)
        except (ValueError, TypeError) as error:
            name, kind = kwargs.get("name"), ValueError if isinstance(error, ValueError) else TypeError
            prefix = "" if cls.__name__ in str(error) else f"{f'{name} ({cls.__name__})' if name else cls.__name__}: "
            advice = cls._advice(str(error), args, kwargs)
            if not prefix and (not advice or advice in str(error)):
                raise
            raise kind(f"{prefix}{error}" if not advice else f"{prefix}{str(error).rstrip('.')}. {advice}") from error
        if isinstance(made, Made) and "given_name" not in vars(made):
            raise RuntimeError(f"{cls.__name__}.__init__ has to call super().__init__().")
        if isinstance(made, Made) and not is_ours(cls):
            made.own_listed_modules()  # type: ignore[attr-defined]
        return made

    def _advice(cls, message: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """What was meant, where a constructor is called as the layer itself would be, or with arguments that there are not."""
        if is_ours(cls) and is_symbolic(args) and not hasattr(cls, "fit"):  # a model is made of tensors
            return "A layer is made first, and then called on tensors: layer = Layer(...); layer(tensor)."
        taken: list[str] = []
        for parent in cls.__mro__:
            parameters = inspect.signature(vars(parent)["__init__"]).parameters if "__init__" in vars(parent) else {}
            taken += [name for name, each in parameters.items() if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
            if parameters and not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                break
        asked = [name for name in kwargs if name not in taken and (f"argument '{name}'" in message or "missing" in message)]
        if not asked or "argument" not in message:
            return ""
        unknown = asked[0]
        taken = [name for name in dict.fromkeys(taken) if name != "self"]
        near = difflib.get_close_matches(unknown, taken, n=1, cutoff=_MISSPELT) or [name for name in taken if unknown in name]
        if not near or len(near) > _MOST_NEAR:
            return f"Its arguments are {', '.join(taken)}."
        return f"Did you mean {' or '.join(map(repr, near))} in place of {unknown!r}?"

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
    _set_later: Mapping[str, Any] = MappingProxyType({})
    """What was set of the constructor's arguments after the layer was built."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        self = super().__new__(cls)
        object.__setattr__(self, "_arguments", (args, kwargs))
        return self

    def get_config(self: Any) -> dict[str, Any]:
        """Return the constructor's arguments, defaults included, as plain values: `from_config` makes an equal layer of them.

        A `get_config` of a user's that asks for these adds its own arguments itself, and is given those of this library's class.
        """
        arguments = constructor_arguments(self, *self._arguments)
        arguments.update((name, plain(value)) for name, value in self._set_later.items() if name in arguments)
        arguments.pop("weights", None)
        if not is_ours(type(self).get_config):
            taken = _taken_by_ours(type(self))
            arguments = {name: value for name, value in arguments.items() if name in taken}
        return {**arguments, "name": self.name, "trainable": self.trainable}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Any:
        """Return a new layer with the arguments that `get_config` returned; `name` and `trainable` even if the constructor lacks them.

        What Keras 3 wrote for the layer is taken too.
        """
        config = arguments_of(cls, config)
        parameters = inspect.signature(cls.__init__).parameters
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
            return cls(**config)
        left_out = {key: config[key] for key in ("name", "trainable") if key in config and key not in parameters}
        layer = cls(**{key: value for key, value in config.items() if key not in left_out})
        layer.given_name = left_out.get("name", layer.given_name)
        layer._trainable = left_out.get("trainable", layer._trainable)
        return layer


def _taken_by_ours(cls: type) -> set[str]:
    """The names of the arguments that the constructors of this library's classes, among the parents, take."""
    own = [base for base in cls.__mro__ if is_ours(base) and "__init__" in vars(base)]
    return {name for base in own for name in inspect.signature(vars(base)["__init__"]).parameters}
