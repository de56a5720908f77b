"""`Structure`: how a user nests the inputs or outputs of a model. It is put on and taken off at the border; inside there are lists."""

from collections.abc import Mapping, Sequence
from typing import Any

_DEEPEST = 20


class Structure:
    """A nest of dicts, lists and tuples, with the numbers 0, 1, ... for its leaves. Those of a dict go by its keys in their order.

    Raises `ValueError` for keys that are no strings, for an empty part, and for a nest that is too deep.

    >>> structure = Structure({"b": 0, "a": [1, 2]})
    >>> structure
    {'a': [0, 1], 'b': 2}
    >>> structure.pack("xyz")
    {'a': ['x', 'y'], 'b': 'z'}
    >>> structure.flat({"b": "z", "a": ["x", "y"]})
    ['x', 'y', 'z']
    """

    def __init__(self, tree: Any):
        self.nest, self.count = _numbered(tree, 0, 0)

    @classmethod
    def split(cls, tree: Any) -> tuple["Structure | None", list[Any]]:
        """Return the leaves of a nest, and its structure where it is more than a leaf or a list of leaves.

        >>> Structure.split([1, 2]), Structure.split({"a": 1})
        ((None, [1, 2]), ({'a': 0}, [1]))
        """
        if not isinstance(tree, (list, tuple, Mapping)):
            return None, [tree]
        if not isinstance(tree, Mapping) and not any(isinstance(part, (list, tuple, Mapping)) for part in tree):
            return None, list(tree)
        if isinstance(tree, Mapping) and not tree:
            return None, []
        structure = cls(tree)
        return structure, structure.flat(tree)

    @classmethod
    def read(cls, nest: Any, count: int) -> "Structure | None":
        """Return the structure whose `nest` a configuration holds, `None` for none. Raises `ValueError` unless it has so many leaves.

        >>> Structure.read({"a": 1, "b": 0}, 2)
        Traceback (most recent call last):
            ...
        ValueError: {'a': 1, 'b': 0} is no structure of 2 tensors.
        """
        if nest is None:
            return None
        structure = cls(nest)
        numbers = structure.flat(nest)
        if numbers != list(range(count)) or not all(type(number) is int for number in numbers):
            raise ValueError(f"{nest!r:.200} is no structure of {count} tensors.")
        return structure

    @property
    def is_deep(self) -> bool:
        """Whether there is more to it than one dict, whose keys then say everything."""
        return not isinstance(self.nest, dict) or not all(type(part) is int for part in self.nest.values())

    def pack(self, leaves: Sequence[Any]) -> Any:
        """Return the nest with these leaves."""
        return _packed(self.nest, leaves)

    def fits(self, value: Any) -> bool:
        """Return whether a value is nested like this; leaves may be anything.

        >>> Structure({"a": 0}).fits({"a": [1, 2]}), Structure({"a": 0}).fits([1])
        (True, False)
        """
        return _fits(self.nest, value)

    def flat(self, value: Any) -> list[Any]:
        """Return the leaves of a value that is nested like this, or that lists them; where there is one only, it may be by itself.

        Raises `ValueError` for any other value.
        """
        if self.fits(value):
            found: list[Any] = []
            _take_leaves(self.nest, value, found)
            return found
        nests = (list, tuple, Mapping)
        if not isinstance(value, nests) and self.count == 1:
            return [value]
        if isinstance(value, (list, tuple)) and len(value) == self.count and not any(isinstance(part, nests) for part in value):
            return list(value)
        raise ValueError(f"expected {_shown(self.nest)}, got {_shown(value)}.")

    def labels(self, names: Sequence[str]) -> list[str]:
        """Return what the leaves are called: the path to each, whose last part is a key, or where it lies in a list its name.

        >>> Structure({"box": 0, "class": [1, 2]}).labels(["dense_1", "dense_2", "dense_3"])
        ['box', 'class/dense_2', 'class/dense_3']
        """
        found: list[str] = []
        _take_labels(self.nest, names, "", found)
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.nest == other.nest

    def __hash__(self) -> int:
        return hash(repr(self.nest))

    def __repr__(self) -> str:
        return repr(self.nest)


def nested(structure: Structure | None, parts: list[Any]) -> Any:
    """Return parts nested as a structure says; the list itself where there is none.

    >>> nested(None, [1]), nested(Structure({"a": 0}), [1])
    ([1], {'a': 1})
    """
    return parts if structure is None else structure.pack(parts)


def put_on(structure: Structure | None, value: Any) -> Any:
    """Return the tensor of one input or output, or the list of several, nested as a structure says; what is nested so already as it is.

    >>> put_on(Structure({"a": 0}), 1), put_on(Structure({"a": 0}), {"a": 1})
    ({'a': 1}, {'a': 1})
    """
    if structure is None or structure.fits(value):
        return value
    return structure.pack(value if isinstance(value, (list, tuple)) else [value])


def listed(structure: Structure | None, value: Any) -> Any:
    """Return the list of the parts of a value that is nested as a structure says; any other value as it is.

    >>> listed(Structure({"a": 0}), {"a": 1}), listed(Structure({"a": 0}), 1)
    ([1], 1)
    """
    return value if structure is None or not structure.fits(value) else structure.flat(value)


def _numbered(tree: Any, start: int, depth: int) -> tuple[Any, int]:
    """The nest with numbers from `start` on for its leaves, and the number after the last."""
    if not isinstance(tree, (list, tuple, Mapping)):
        return start, start + 1
    if depth == _DEEPEST:
        raise ValueError(f"Lists and dicts of tensors may be nested {_DEEPEST} deep.")
    if not len(tree):
        raise ValueError(f"An empty {type(tree).__name__} holds no tensor.")
    if isinstance(tree, Mapping):
        strange = [key for key in tree if not isinstance(key, str)]
        if strange:
            raise ValueError(f"The keys of a dict of tensors are strings, got {strange[0]!r:.80}.")
        nest: dict[str, Any] = {}
        for key in sorted(tree):
            nest[str(key)], start = _numbered(tree[key], start, depth + 1)
        return nest, start
    parts = []
    for part in tree:
        numbered, start = _numbered(part, start, depth + 1)
        parts.append(numbered)
    return (tuple(parts) if isinstance(tree, tuple) else parts), start


def _packed(nest: Any, leaves: Sequence[Any]) -> Any:
    if isinstance(nest, dict):
        return {key: _packed(part, leaves) for key, part in nest.items()}
    if isinstance(nest, (list, tuple)):
        return type(nest)([_packed(part, leaves) for part in nest])
    return leaves[nest]


def _fits(nest: Any, value: Any) -> bool:
    if isinstance(nest, dict):
        return isinstance(value, Mapping) and nest.keys() == value.keys() and all(_fits(nest[key], value[key]) for key in nest)
    if isinstance(nest, (list, tuple)):
        same = isinstance(value, (list, tuple)) and len(value) == len(nest)
        return same and all(map(_fits, nest, value))
    return True


def _take_leaves(nest: Any, value: Any, found: list[Any]) -> None:
    if not isinstance(nest, (dict, list, tuple)):
        found.append(value)
        return
    for key in nest if isinstance(nest, dict) else range(len(nest)):
        _take_leaves(nest[key], value[key], found)


def _take_labels(nest: Any, names: Sequence[str], path: str, found: list[str]) -> None:
    for key, part in nest.items() if isinstance(nest, dict) else enumerate(nest):
        if isinstance(part, (dict, list, tuple)):
            _take_labels(part, names, f"{path}{key}/", found)
        else:
            found.append(path + (str(key) if isinstance(nest, dict) else names[part]))


def _shown(value: Any) -> str:
    """A nest in words: dots for its leaves, or their shapes."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key!r}: {_shown(part)}' for key, part in value.items())}}}"[:500]
    if isinstance(value, (list, tuple)):
        shown = ", ".join(map(_shown, value))[:500]
        return f"[{shown}]" if isinstance(value, list) else f"({shown})"
    if hasattr(value, "shape"):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    return "..." if isinstance(value, int) else type(value).__name__
