"""What a module returned, and where it belongs among the outputs: a tensor, a list, a dict, a named tuple or a dataclass of them.

Modules may return more in training than in evaluation, as those with auxiliary classifiers do.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from torchkeras_fn.engine.drawing.spec import Spec


def is_record(returned: Any) -> bool:
    """Return whether this is a dataclass with values, which is no dict as well.

    >>> is_record({"a": 1})
    False
    """
    return is_dataclass(returned) and not isinstance(returned, (type, Mapping, Spec))


def keys_of(returned: Any) -> list[str] | None:
    """Return what a module calls its outputs: keys of a dict, or fields of a named tuple or dataclass; `None` where they have no names.

    Fields of a dataclass are outputs where they hold tensors, or a nest of them: not `None`, a number or a text.

    >>> keys_of({"a": 1}), keys_of([1])
    (['a'], None)
    """
    if isinstance(returned, Mapping):
        return list(returned)
    if is_record(returned):
        return [field.name for field in fields(returned) if _may_be_output(getattr(returned, field.name, None))]
    names = getattr(returned, "_fields", None)
    return None if names is None else list(names)


def _may_be_output(value: Any) -> bool:
    return isinstance(value, torch.Tensor) or isinstance(value, (list, tuple, Mapping)) and len(value) > 0


def parts_of(returned: Any) -> list[Any]:
    """Return the outputs in what a module returned.

    >>> parts_of({"a": 1, "b": 2}), parts_of(3)
    ([1, 2], [3])
    """
    if isinstance(returned, Mapping):
        return list(returned.values())
    if is_record(returned):
        return [getattr(returned, name) for name in keys_of(returned) or ()]
    return list(returned) if isinstance(returned, (list, tuple)) else [returned]


def record_like(returned: Any, values: Mapping[str, Any]) -> Any:
    """Return a copy of a dataclass with other values in some of its fields, past what its constructor makes of them.

    >>> from dataclasses import make_dataclass
    >>> record_like(make_dataclass("Found", ["logits"])(torch.ones(1)), {"logits": 2})
    Found(logits=2)
    """
    changed = copy.copy(returned)
    for name, value in values.items():
        object.__setattr__(changed, name, value)  # which may be frozen
    return changed


def numbered(count: int) -> list[str]:
    """Return the names of outputs that have none of their own.

    >>> numbered(2)
    ['output_1', 'output_2']
    """
    return [f"output_{index + 1}" for index in range(count)]


def names_in(returned: Any) -> list[str]:
    """Return the names of the outputs: the module's, or numbers.

    >>> names_in({"a": 1}), names_in([1])
    (['a'], ['output_1'])
    """
    return keys_of(returned) or numbered(len(parts_of(returned)))


def are_shapes(returned: Any) -> bool:
    """Return whether there is a shape for each output, as where a module was run on no data, in evaluation.

    >>> are_shapes([(None, 3)]), are_shapes([1.0])
    (True, False)
    """
    return all(type(part) is tuple and all(size is None or type(size) is int for size in part) for part in parts_of(returned))


def places_of(names: Sequence[str], returned: Any) -> list[int | None] | None:
    """Return for each part of what a module returned its position among the outputs, `None` for what is none of them.

    All is `None` where the parts are the outputs in their order. Parts without known names are the first outputs.

    >>> places_of(["a", "b"], {"b": 1}), places_of(["a", "b"], 1), places_of(["a", "b"], [1, 2])
    ([1], [0], None)
    """
    keys = keys_of(returned)
    if keys is None or set(keys).isdisjoint(names):
        count = len(parts_of(returned))
        places: list[int | None] = [index if index < len(names) else None for index in range(count)]
    else:
        places = [names.index(key) if key in names else None for key in keys]
    return None if places[: len(names)] == list(range(len(names))) else places


def has_more(returned: Any, names: Sequence[str]) -> bool:
    """Return whether a module returned outputs beside those of these names, which were all that there were in evaluation.

    >>> has_more({"a": 1, "b": 2}, ["a"]), has_more([1, 2], ["output_1"]), has_more(1, ["a"])
    (True, True, False)
    """
    found = names_in(returned)
    were_numbered = list(names) == numbered(len(names))
    return found != list(names) and (set(found) > set(names) or were_numbered and len(found) >= len(names))
