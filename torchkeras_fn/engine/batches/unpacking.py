"""What comes as one batch: taken apart as `(x, y, sample_weight)`, or kept whole for a step of the user's that takes more than arrays."""

import math
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import PackedSequence
from torch.utils._pytree import tree_leaves, tree_map

from torchkeras_fn.engine.batches.arrays import Signature
from torchkeras_fn.engine.batches.columns import is_array, is_whole
from torchkeras_fn.engine.device import to_device

_NUMBERS = "fiub"
"""The kinds of numpy types that columns are made of; tensors are made of complex numbers, too."""


def unpack(raw: Any, with_targets: bool, lists_are_pairs: bool, inputs: int) -> tuple[Any, Any, Any]:
    """Take apart what a source gave as a batch: `(x, y)`, `(x, y, sample_weight)`, or `x` alone.

    Where no targets are wanted, a list holds the data of several inputs, unless `lists_are_pairs`, as torch's collation
    returns `(x, y)`. Raises `ValueError` that shows what came where it is none of these.

    >>> unpack((1, 2), True, False, 1)
    (1, 2, None)
    """
    if raw is None:
        raise ValueError("A batch is (x, y) or (x, y, sample_weight), but None came.")
    if not has_parts(raw, with_targets, lists_are_pairs, inputs):
        return raw, None, None
    if not 1 <= len(raw) <= 3:
        raise ValueError(
            f"A batch is (x, y) or (x, y, sample_weight), but a {type(raw).__name__} of {len(raw)} came: {shown(raw)}. "
            "Only a step of your own, such as train_step for fit, is given other batches, as they come."
        )
    x, y, weight = (*raw, None, None)[:3]
    return (x, y, weight) if with_targets else (x, None, None)


def has_parts(raw: Any, with_targets: bool, lists_are_pairs: bool, inputs: int) -> bool:
    """Return whether a batch is taken apart; else it is `x`, which may be the list of the data of several inputs.

    >>> has_parts([1, 2], False, False, 1), has_parts((1, 2), False, False, 1)
    (False, True)
    """
    if isinstance(raw, list) and not with_targets and not lists_are_pairs or not isinstance(raw, (list, tuple)) or is_whole(raw):
        return False
    are_inputs = lists_are_pairs and not with_targets and len(raw) == inputs > 1
    return not are_inputs or any(isinstance(part, (list, tuple, Mapping)) for part in raw)


def shown(raw: Any) -> str:
    """Return what came, in words: types, and shapes where there are some.

    >>> shown([torch.ones(2), "a"])
    "list of [Tensor of shape (2,), str 'a']"
    """
    if isinstance(raw, (list, tuple)):
        return f"{type(raw).__name__} of [{', '.join(shown(part) for part in raw)}]"
    if isinstance(raw, Mapping):
        return f"{type(raw).__name__} with the keys {list(raw)}"
    shape = f" of shape {tuple(raw.shape)}" if hasattr(raw, "shape") else f" {raw!r:.40}"
    return type(raw).__name__ + shape


class AsItCame(list[Any]):
    """Stands for `x` in a batch that a step of the user's is given as it came: as `data`, if it takes that, or as `batch`.

    A tuple or list of more than three parts is the whole `batch`; anything else is, or has, the `x` in `(x, y, sample_weight)`.
    Those who count samples see a list of one array with as many rows.
    """

    def __init__(self, raw: Any, batch: Any):
        first = raw[0] if isinstance(raw, (list, tuple)) and raw else raw
        super().__init__([range(rows_of(first) or 1)])
        self.data, self.batch = raw, batch


class InTuple(tuple[Any, Any, Any]):
    """A batch whose `x` came by itself in a tuple or list, in which a step that takes `data` is given it."""


def as_it_came(raw: Any, signature: Signature, with_targets: bool, lists_are_pairs: bool) -> AsItCame | None:
    """Return what a step of the user's is given whole, on the device of the model; `None` for a batch that is made of arrays as usual.

    Whole comes what has more than three parts, or a name for each, or three that cannot be weighted targets, where no loss is
    compiled; what holds texts, objects, or arrays of unequal length; a dict of other things than the model's inputs; and inputs
    alone where the loss takes targets too. Objects are moved by their method `to`.

    >>> as_it_came([torch.ones(2, 1)] * 4, Signature(), True, True).data[3].shape
    torch.Size([2, 1])
    """
    if raw is None or signature.fed or signature.targets_fed or signature.class_weights is not None:
        return None
    if not has_parts(raw, with_targets, lists_are_pairs, len(signature.input_names or [0])):
        wants_more = with_targets and bool(signature.targets)  # a step of the user's may make its targets itself
        return None if _is_usual((raw,), signature) and not wants_more else _alone(_on_device(raw, signature))
    are_inputs = len(raw) == 3 and not signature.targets and math.prod(getattr(raw[2], "shape", ())[1:]) > 1  # which are no weights
    is_plain = 1 <= len(raw) <= 3 and not hasattr(raw, "_fields") and not are_inputs
    if is_plain and _is_usual(raw if with_targets else raw[:1], signature):
        return None
    if not raw:
        return None
    raw = _on_device(raw, signature)
    if hasattr(raw, "to"):
        return _alone(raw)
    if len(raw) > 3:
        return AsItCame(raw, raw)
    x, y, weight = parts_of(raw)
    return AsItCame(raw, (x, y, weight) if with_targets else (x, None, None))


def _alone(raw: Any) -> AsItCame:
    return AsItCame(raw, (raw, None, None))


def parts_of(batch: Any) -> tuple[Any, Any, Any]:
    """Return `(x, y, sample_weight)` of what a step was given, `None` for what is missing.

    >>> parts_of((1, 2))
    (1, 2, None)
    """
    x, y, sample_weight = (*batch, None, None)[:3] if isinstance(batch, (tuple, list)) else (batch, None, None)
    return x, y, sample_weight


def _is_usual(parts: Any, signature: Signature) -> bool:
    """Whether `x`, `y` and `sample_weight` are arrays, or lists or dicts of them, with equal numbers of rows."""
    is_deep = any(structure is not None and structure.is_deep for structure in (signature.input_structure, signature.output_structure))
    x, names = parts[0], signature.input_names
    if len(parts) == 1 and isinstance(x, Mapping) and names is not None and not is_deep and not set(names) <= set(x):
        return False
    arrays = [one for part in parts if part is not None for one in (tree_leaves(part) if is_deep else _arrays_in(part))]
    rows = {rows_of(one) if is_array(one) and not is_whole(one) and not _holds_no_numbers(one) else None for one in arrays}
    return len(rows) == 1 and None not in rows


def _arrays_in(part: Any) -> Iterable[Any]:
    if isinstance(part, Mapping) and not hasattr(part, "shape") and not _can_move(part):
        return part.values()
    return part if type(part) in (list, tuple) and not is_array(part) else (part,)


def _holds_no_numbers(value: Any) -> bool:
    """Whether this is an array of texts or objects; one of numbers that are kept as objects is usual, and has to be converted."""
    if not isinstance(value, np.ndarray) or value.dtype.kind in _NUMBERS:
        return False
    return value.dtype.kind != "O" or not value.size or not isinstance(next(value.flat), Number)


def rows_of(value: Any) -> int | None:
    """Return how many rows an array has, or the first in a dict, or how long anything else is; `None` where that cannot be told.

    >>> rows_of(torch.ones(3, 2)), rows_of({"a": [1, 2]}), rows_of(3)
    (3, 2, None)
    """
    if is_whole(value):
        return _rows_of_whole(value)
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return shape[0] if shape else None
    if isinstance(value, Mapping) and value:
        return rows_of(next(iter(value.values())))
    return len(value) if hasattr(value, "__len__") else None


def _rows_of_whole(value: Any) -> int | None:
    """How many sequences are packed, or rows a sparse or nested tensor has; what an object's length counts is not known."""
    if isinstance(value, PackedSequence):
        return int(value.batch_sizes[0])
    return value.size(0) if isinstance(value, torch.Tensor) and value.ndim else None


def _on_device(raw: Any, signature: Signature) -> Any:
    """What came, with its arrays as tensors of the model's types on its device."""
    device, floats = signature.device, signature.float_dtype

    def moved(value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype.kind in _NUMBERS + "c":
            value = torch.as_tensor(np.require(value, value.dtype.newbyteorder("="), ["C", "W"]))  # which torch asks for
        if isinstance(value, torch.Tensor):
            return to_device(value.to(floats) if value.dtype.is_floating_point else value, device)
        return value.to(device) if _can_move(value) else value

    return tree_map(moved, raw, is_leaf=_can_move)


def _can_move(value: Any) -> bool:
    return callable(getattr(value, "to", None)) and not isinstance(value, type)
