"""From a name, a config or an object to the object: one lookup for activations, losses, layers and all other vocabularies."""

import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

_custom_objects: dict[str, Any] = {}
_registered_names: dict[Any, str] = {}
_MOST_NAMES = 100
"""How many names an error message may list."""
_MOST_NEAR = 6
"""How many of them it may offer as what was meant."""


def get_custom_objects() -> dict[str, Any]:
    """Return the names that every lookup knows besides the built-in ones, to read or to add to.

    >>> get_custom_objects()["twice"] = lambda x: 2 * x
    >>> get_custom_objects().pop("twice")(4)
    8
    """
    return _custom_objects


def register_keras_serializable(package: str = "Custom", name: str | None = None) -> Callable[[Any], Any]:
    """Return a decorator that makes a class or function known to every lookup, as `package>name`, and written down under it.

    The name is its own unless given; under that alone it is found too, where nothing built in is called so. Raises
    `ValueError` for a name that is taken by another object, and for a class without `get_config`, and `TypeError` for what is
    neither a class nor a function, and where the decorator's parentheses are forgotten.

    >>> @register_keras_serializable(package="doctest")
    ... def thrice(x):
    ...     return 3 * x
    >>> get_registered_name(thrice), get_registered_object("doctest>thrice") is thrice
    ('doctest>thrice', True)
    """

    if not isinstance(package, str):
        raise TypeError(f"'package' must be a text, got {package!r}. The decorator has parentheses: @register_keras_serializable().")

    def register(item: Any) -> Any:
        if name is None and not hasattr(item, "__name__"):
            raise TypeError(f"Classes and functions are registered, got {item!r} of type {type(item).__name__}.")
        if inspect.isclass(item) and not hasattr(item, "get_config"):
            raise ValueError(f"{item.__name__} cannot be registered: it has no get_config().")
        known_as = f"{package}>{name or item.__name__}"
        before = _custom_objects.get(known_as, item)
        if before is not item and _place_of(before) != _place_of(item):
            raise ValueError(f"The name {known_as!r} is taken by {before!r}. Register under another name or package.")
        _custom_objects[known_as] = item
        _registered_names[item] = known_as
        return item

    return register


def _place_of(item: Any) -> tuple[Any, Any]:
    """Where an object was defined: a notebook cell that runs again defines the same one anew."""
    return getattr(item, "__module__", None), getattr(item, "__qualname__", None)


def get_registered_name(obj: Any) -> str:
    """Return the name under which a class or function is registered; its own where it is not.

    >>> get_registered_name(Registry)
    'Registry'
    """
    return _registered_names.get(obj) or str(obj.__name__)


def get_registered_object(
    name: str, custom_objects: Mapping[str, Any] | None = None, module_objects: Mapping[str, Any] | None = None
) -> Any:
    """Return the class or function of a registered name, or of a name in one of the two mappings; `None` for an unknown one.

    >>> get_registered_object("nobody>nothing") is None
    True
    """
    places: list[Mapping[str, Any]] = [_custom_objects, custom_objects or {}, module_objects or {}]
    return next((place[name] for place in places if name in place), None)


@contextmanager
def custom_object_scope(*custom_objects: Mapping[str, Any]) -> Iterator[None]:
    """Make the names of one or several dicts known to every lookup inside the `with` block.

    Raises `TypeError` for what is no dict from names to classes or functions.

    >>> from torchkeras_fn import activations
    >>> with custom_object_scope({"twice": lambda x: 2 * x}, {"thrice": lambda x: 3 * x}):
    ...     activations.get("twice")(4), activations.get("thrice")(4)
    (8, 12)
    """
    for each in custom_objects:
        if not isinstance(each, Mapping):
            raise TypeError(f"Expected a dict from names to classes or functions, such as {{'own': Own}}; got {each!r}.")
    objects = {name: item for each in custom_objects for name, item in each.items()}
    before = {name: _custom_objects[name] for name in objects if name in _custom_objects}
    _custom_objects.update(objects)
    try:
        yield
    finally:  # what was registered meanwhile stays
        for name in objects:
            _custom_objects.pop(name, None)
        _custom_objects.update(before)


def _registered_as(name: str) -> Any:
    """The last object that was registered under this name in any package."""
    return next((item for item, known_as in reversed(_registered_names.items()) if known_as.partition(">")[2] == name), None)


def _fold(name: str) -> str:
    """`MeanSquaredError`, `mean_squared_error` and `Mean-Squared-Error` are one name; `_mse` is a private one of the user's."""
    private = "_" if name.startswith("_") else ""
    return private + name.replace("_", "").replace("-", "").lower()


def _one(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def snake_case(name: str) -> str:
    """Return a class name as Keras spells it in the names it gives.

    >>> snake_case("BatchNormalization"), snake_case("Conv2D")
    ('batch_normalization', 'conv2d')
    """
    spaced = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


class Registry:
    """The names of one vocabulary, such as all losses, and what each stands for.

    `kind` is the word used in error messages. Entries are functions, or classes that are called without
    arguments (or with those of a config) when looked up.

    >>> colours = Registry("colour", {"red": print})
    >>> colours.get("Red") is print
    True
    >>> colours.get("rod")
    Traceback (most recent call last):
        ...
    ValueError: Unknown colour 'rod'. Did you mean 'red'?
    """

    def __init__(self, kind: str, entries: Mapping[str, Any], aliases: Mapping[str, str] | None = None):
        self.kind = kind
        self.entries: dict[str, Any] = dict(entries)
        self._folded = {_fold(name): entry for name, entry in self.entries.items()}
        self._aliases = list(aliases or {})
        for alias, name in (aliases or {}).items():
            self._folded[_fold(alias)] = self.entries[name]

    def register(self, name: str, entry: Any) -> None:
        """Add an entry under a name."""
        self.entries[name] = self._folded[_fold(name)] = entry

    def find(self, name: str) -> Any:
        """Return the entry called `name`, in any of its spellings. Raises `ValueError` with the nearest name."""
        if name in _custom_objects:
            return _custom_objects[name]
        found = self._folded.get(_fold(name)) or _registered_as(name)
        if found is None:
            raise ValueError(f"Unknown {self.kind} {name!r}. {self._suggest(name)}")
        return found

    def get(self, identifier: Any) -> Any:
        """Return the object for a name, a `{'class_name', 'config'}` dict, a class, or an object (given back as it is)."""
        if identifier is None:
            return None
        if isinstance(identifier, str):
            found = self.find(identifier)
            return self._made(found) if inspect.isclass(found) else found
        if isinstance(identifier, Mapping):
            name = identifier.get("config")  # how `serialize_keras_object` words a function
            is_function = identifier.get("class_name") == "function" and isinstance(name, str)
            return self.get(name) if is_function else self.deserialize(identifier)
        if inspect.isclass(identifier):
            return self._made(identifier)
        if callable(identifier):
            return identifier
        raise ValueError(
            f"Expected the name of {_one(self.kind)}, a config, or a callable; got {identifier!r} of type {type(identifier).__name__}."
        )

    def serialize(self, item: Any) -> Any:
        """Return what `deserialize` turns back into `item`: a name for a function or class, a dict for an object with `get_config`.

        A function may say by an attribute `stands_for` that it is another one for all that a config can tell.
        Raises `ValueError` for an object without a name, or whose name would be read as another entry.

        >>> Registry("colour", {"red": print}).serialize(print)
        'red'
        """
        if item is None or isinstance(item, str):
            return item
        for known, entry in [*self.entries.items(), *_custom_objects.items()]:
            if entry is item or entry is getattr(item, "stands_for", None):
                return known
        if hasattr(item, "get_config") and not inspect.isclass(item):
            return {"class_name": get_registered_name(type(item)), "config": item.get_config()}
        name: str | None = getattr(item, "__name__", None)
        if name is None:
            raise ValueError(f"{item!r} cannot be written to a config: it has neither get_config() nor a name.")
        if _fold(name) in self._folded:
            raise ValueError(
                f"{item!r} cannot be written to a config as {name!r}: that is the name of another {self.kind}. "
                "Give it a name of its own, and pass it in custom_objects when it is read."
            )
        return name

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the object that `serialize` described. Raises `ValueError` for an unknown name or a malformed config."""
        with custom_object_scope(custom_objects or {}):
            if not isinstance(config, Mapping):
                return self.get(config)
            if not isinstance(config.get("class_name"), str):
                raise ValueError(f"A {self.kind} config needs a 'class_name', got {dict(config)!r}.")
            found = self.find(config["class_name"])
            arguments = dict(config.get("config") or {})
            from_config: Callable[[dict[str, Any]], Any] | None = getattr(found, "from_config", None)
            return from_config(arguments) if from_config else found(**arguments)

    @staticmethod
    def _made(kind: type) -> Any:
        """An object of a class, made without arguments. Raises `ValueError` for a class that needs some."""
        try:
            return kind()
        except TypeError:
            parameters = inspect.signature(kind).parameters.values()
            needed = [p.name for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
            if not needed:
                raise
            raise ValueError(
                f"{kind.__name__} cannot be made without {', '.join(needed)}: pass {kind.__name__}(...) in place of its name."
            ) from None

    def _suggest(self, name: str) -> str:
        folded, spelled = _fold(name), {_fold(known): known for known in [*self._aliases, *self.entries, *_custom_objects]}
        own = f" Your own is passed in custom_objects={{{name!r}: ...}}." if len(self.entries) > _MOST_NAMES else ""
        within = [known for near, known in spelled.items() if len(folded) > 1 and folded in near]
        if 0 < len(within) <= _MOST_NEAR:  # `crossentropy` is a part of several names, of which none is nearer than the others
            return f"Did you mean {' or '.join(map(repr, sorted(within)))}?{own}"
        near = difflib.get_close_matches(folded, [*spelled, *self._folded], n=1)
        if near:
            return f"Did you mean {spelled.get(near[0], near[0])!r}?{own}"
        if own:
            return f"It is none of the {len(self.entries)} that are known.{own}"
        return f"Known are: {', '.join(sorted(self.entries))}."
