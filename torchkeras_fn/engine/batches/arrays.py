"""Arrays a user passed, checked against what a model takes, and put in the order of its inputs and outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from numbers import Real
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.basics.structure import Structure
from torchkeras_fn.engine.batches.columns import Column, Whole, column, is_array, is_whole
from torchkeras_fn.engine.batches.weighting import ClassWeights, check_sample_weight, one_per_sample
from torchkeras_fn.engine.device import to_device
from torchkeras_fn.engine.symbolic import Shape


@dataclass
class Signature:
    """What a model says of the data it takes; `None` where it says nothing, as a plain module does.

    `fed` holds for some inputs, by position, a function that returns the tensor of a step, and `targets_fed` for outputs.
    `targets` names the outputs that have a loss, `None` for as many as come.
    """

    input_names: list[str] | None = None
    input_shapes: list[Shape] = field(default_factory=list)
    input_dtypes: list[torch.dtype] = field(default_factory=list)
    output_names: list[str] | None = None
    output_shapes: list[Shape] = field(default_factory=list)
    float_dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    fed: Mapping[int, Callable[[], torch.Tensor]] = field(default_factory=dict)
    targets_fed: Mapping[int, Callable[[], torch.Tensor]] = field(default_factory=dict)
    targets: list[str] | None = None
    weight_modes: Sequence[str | None] = ()
    class_weights: ClassWeights | None = None
    input_structure: Structure | None = None
    output_structure: Structure | None = None


@dataclass
class Arrays:
    """Data that has been checked and put in order: a column of samples per input, and one or `None` per output.

    `keys` name the targets of a dict where the outputs, and so their order, are not known yet.
    """

    x: list[Column]
    y: list[Column | None]
    sample_weight: list[Column | None]
    x_dtypes: list[torch.dtype | None]
    rebuild: Callable[[list[Any]], Any]
    keys: list[str] | None = None

    @property
    def columns(self) -> list[Column]:
        """All columns there are."""
        found: list[Column] = []
        for part in (*self.x, *self.y, *self.sample_weight):
            if part is not None:
                found.append(part)
        return found

    @property
    def samples(self) -> int:
        """The number of samples. Raises `TypeError` where what is whole leaves it open."""
        return next(len(part) for part in sorted(self.columns, key=_is_open))

    @property
    def are_whole(self) -> bool:
        """Whether there is something in `x` that cannot be cut into rows."""
        return any(map(_is_open, self.x))

    def part(self, start: int, stop: int) -> "Arrays":
        """Return the samples from `start` to `stop`, sharing memory."""

        def cut(columns: Sequence[Any]) -> list[Any]:
            return [None if part is None else part.part(start, stop) for part in columns]

        return Arrays(cut(self.x), cut(self.y), cut(self.sample_weight), self.x_dtypes, self.rebuild, self.keys)


def _is_open(part: Column) -> bool:
    return isinstance(part, Whole)


def arrays_of(x: Any, y: Any, sample_weight: Any, signature: Signature) -> Arrays:
    """Check the arrays a user passed, and put them in order. Raises `ValueError` that names the one that does not fit.

    >>> arrays_of([[1.0, 2.0]], [3], None, Signature()).samples
    1
    """
    x, y, sample_weight = (value.tocsr() if _is_sparse_dict(value) else value for value in (x, y, sample_weight))
    x = _by_name(x, "x", signature.input_structure, signature.input_names)
    y = _by_name(y, "y", signature.output_structure, signature.output_names)
    sample_weight = _by_name(sample_weight, "sample_weight", signature.output_structure, signature.output_names)
    inputs, dtypes, rebuild = _inputs(x, signature)
    targets = _targets(y, signature)
    keys = list(y) if signature.output_names is None and isinstance(y, Mapping) else None
    weights = one_per_sample(_weights(sample_weight, signature.output_names or keys, len(targets)), signature.weight_modes)
    _check_samples(inputs, targets, weights)
    check_sample_weight(weights, targets, signature.output_shapes, signature.weight_modes)
    return Arrays(inputs, targets, weights, dtypes, rebuild, keys)


def _by_name(value: Any, what: str, structure: Structure | None, names: Sequence[str] | None) -> Any:
    """A value that is nested as the structure says as a dict by the names of its parts, and one that lists them as it is."""
    if structure is None or names is None or not structure.is_deep or isinstance(value, Mapping) and set(value) <= set(names):
        return value
    is_nest = isinstance(value, Mapping) or isinstance(value, (list, tuple)) and any(isinstance(part, Mapping) for part in value)
    if not is_nest and not structure.fits(value):
        return value
    try:
        return dict(zip(names, structure.flat(value), strict=True))
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def _is_sparse_dict(value: Any) -> bool:
    """Whether this is a SciPy matrix that is a dict as well, from positions to numbers."""
    return isinstance(value, Mapping) and hasattr(value, "tocsr")


def _parts(value: Any, what: str, expected: int) -> list[Any]:
    """Return the arrays in a value: a list holds several where several are expected, or where it is not one array itself."""
    if is_whole(value):
        return [value]
    if expected > 1 and isinstance(value, (list, tuple)):
        return list(value)
    if is_array(value):
        return [value]
    if not isinstance(value, (list, tuple)):
        call = " Call it, and pass what it returns." if callable(value) else ""
        raise TypeError(f"{what} is an array, or a list or dict of arrays, got {value!r:.80} of type {type(value).__name__}.{call}")
    return list(value)


def _if_one_array(parts: Sequence[Any], what: str) -> str:
    """What to do about a list that was meant as one array, for an error message; nothing where it does not look like one."""
    if any(isinstance(part, str) for part in parts):
        return f" {what} holds texts: give each a number first, as np.unique(values, return_inverse=True) does."
    if any(part is None for part in parts):
        return f" {what} holds None, which is no number."
    shapes = {tuple(part.shape) if hasattr(part, "shape") else None for part in parts}
    alike = len(parts) > 1 and len(shapes) == 1 and None not in shapes
    return f" If these are the rows of one array, make it one: np.stack({what})." if alike else ""


# ------------------------------------------------------------------ inputs


def _inputs(x: Any, signature: Signature) -> tuple[list[Column], list[torch.dtype | None], Callable[[list[Any]], Any]]:
    names, fed = signature.input_names, signature.fed
    if names is None:
        return _inputs_as_they_come(x)
    ordinary = [index for index in range(len(names)) if index not in fed]
    columns = []
    for part, index in zip(_one_for_each(x, [names[index] for index in ordinary]), ordinary, strict=True):
        if part is None:
            raise ValueError(f"The data for input {names[index]!r} is None.")
        columns.append(_fit_input(column(part, f"The data for input {names[index]!r}"), names[index], signature.input_shapes[index]))
    dtypes: list[torch.dtype | None] = [signature.input_dtypes[index] for index in ordinary]
    return columns, dtypes, _rebuilder(signature)


def _inputs_as_they_come(x: Any) -> tuple[list[Column], list[torch.dtype | None], Callable[[list[Any]], Any]]:
    if x is None:
        raise ValueError("x is None. Expected the input data: arrays, tensors, or something that gives batches.")
    if isinstance(x, Mapping):
        keys = list(x)
        return [_part(x[key], f"x[{key!r}]") for key in keys], [None] * len(keys), lambda parts: dict(zip(keys, parts, strict=True))
    if is_whole(x) or is_array(x):
        return [_part(x, "x")], [None], _only
    parts = [_part(part, f"x[{index}]") for index, part in enumerate(_parts(x, "x", 1))]
    if not parts:
        raise ValueError("x is an empty list. Expected the input data.")
    named = getattr(type(x), "_make", None)  # of a named tuple, by whose fields a module may ask for its parts
    return parts, [None] * len(parts), named or list


def _part(value: Any, what: str) -> Column:
    """A column of what has rows, and what has none as it is: a plain module may take that."""
    return Whole(value, what) if is_whole(value) else column(value, what)


def _one_for_each(x: Any, names: Sequence[str]) -> list[Any]:
    """Return the data of these inputs, in their order."""
    if x is None and names:
        raise ValueError(f"x is None, but the inputs {list(names)} need data.")
    if len(names) == 1 and isinstance(x, (np.ndarray, torch.Tensor)):  # the usual, without further questions
        return [x]
    if isinstance(x, Mapping):
        if not set(names) <= set(x):  # others are passed by, as in Keras
            raise ValueError(f"x has data for {list(x)}, but the model's inputs are {list(names)}.")
        return [x[name] for name in names]
    parts = [] if x is None else _parts(x, "x", len(names))
    if len(parts) != len(names):
        shown = [tuple(getattr(part, "shape", ())) for part in parts]
        shapes = f"{shown}" if len(shown) <= 4 else f"[{', '.join(map(str, shown[:3]))}, ...]"
        hint = _if_one_array(parts, "x") if len(names) == 1 else ""
        raise ValueError(
            f"The model takes data for {len(names)} inputs {list(names)}, but x holds {len(parts)} arrays of shapes {shapes}.{hint}"
        )
    return parts


def _rebuilder(signature: Signature) -> Callable[[list[Any]], Any]:
    count = len(signature.input_names or [])
    if not signature.fed:
        return _only if count == 1 else list

    def insert(parts: list[Any]) -> Any:
        given = iter(parts)
        feeds = [signature.fed.get(index) for index in range(count)]
        full = [next(given) if feed is None else to_device(feed(), signature.device) for feed in feeds]
        return full[0] if count == 1 else full

    return insert


def _only(parts: list[Any]) -> Any:
    return parts[0]


def _fit_input(part: Column, name: str, shape: Shape) -> Column:
    if len(part.shape) == 1 and len(shape) == 2 and shape[1] in (1, None):
        part = part.unsqueezed()
    if part.shape[1:] != shape[1:] and not _fits(part.shape[1:], shape[1:]):
        raise ValueError(f"Input {name!r} expects data of shape {shape}, got {part.shape}.{_if_it_can_be_made_to_fit(part.shape, shape)}")
    return part


def _fits(got: Shape, wanted: Shape) -> bool:
    return len(got) == len(wanted) and all(want in (None, have) for want, have in zip(wanted, got, strict=True))


def _if_it_can_be_made_to_fit(got: Shape, wanted: Shape) -> str:
    """How data of as many numbers as are wanted is given the shape, for an error message; nothing where there are more or fewer."""
    if _fits(got, wanted[1:]):
        return " If this is one sample, make a batch of it: x[None]."
    sizes = [size for size in wanted[1:] if size is not None]
    if len(sizes) < len(wanted) - 1 or prod(sizes) != prod(size or 0 for size in got[1:]):
        return ""
    if sorted(sizes) != sorted(size or 0 for size in got[1:]):
        return f" A sample holds as many numbers: x.reshape(-1, {', '.join(map(str, sizes))}) has the shape."
    order = [0]
    for size in sizes:
        order.append(next(axis for axis, have in enumerate(got) if axis not in order and have == size))
    return f" If the axes are in another order, change it: np.transpose(x, {tuple(order)})."


# ------------------------------------------------------------------ targets and weights


def _targets(y: Any, signature: Signature) -> list[Column | None]:
    """One column (or `None`) for each output. A list may cover all outputs, or only those that need a target from `y`."""
    names, wanted = signature.output_names, signature.targets
    if signature.targets_fed:
        names = names or ["output_1"]
        fed = [names[index] for index in signature.targets_fed]
        wanted = [name for name in (names if wanted is None else wanted) if name not in fed]
        _check_not_fed(y, names, fed, wanted)
    if y is None:
        if wanted:
            raise ValueError(f"y is None, but the outputs {wanted} have a loss and need targets.")
        return [None] * len(names or [])
    return [None if part is None else column(part, "y") for part in _target_per_output(y, names, wanted)]


def _check_not_fed(y: Any, names: Sequence[str], fed: Sequence[str], wanted: Sequence[str]) -> None:
    if isinstance(y, Mapping):
        twice = [name for name in fed if y.get(name) is not None]
    elif isinstance(y, (list, tuple)) and not is_array(y):
        twice = [name for name, part in zip(names, y, strict=False) if name in fed and part is not None] if len(y) == len(names) else []
    else:
        twice = []
    if twice or (y is not None and not wanted and not (isinstance(y, (list, tuple)) and all(part is None for part in y))):
        raise ValueError(f"The model was compiled with target_tensors for {list(twice or fed)}, so no y can be passed for them.")


def _target_per_output(y: Any, names: Sequence[str] | None, wanted: Sequence[str] | None) -> list[Any]:
    if names is None:
        return list(y.values()) if isinstance(y, Mapping) else _parts(y, "y", 1)
    if isinstance(y, Mapping):
        keys = [name if name in y else name.rpartition("_")[0] for name in names]
        unknown = [key for key in y if key not in keys]
        if unknown:
            raise ValueError(f"y has data for {unknown[0]!r}, which is no output. The outputs are {list(names)}.")
        parts = [y.get(key) for key in keys]
    else:
        parts = _parts(y, "y", len(names if wanted is None else wanted))
    if len(parts) != len(names):
        if wanted is None and 0 < len(parts) < len(names):  # where that is known in the step alone
            return parts
        if wanted is None or len(parts) != len(wanted):
            hint = _if_one_array(parts, "y") if len(names) == 1 else ""
            raise ValueError(f"The model has {len(names)} outputs {list(names)}, but y holds {len(parts)} arrays.{hint}")
        in_order = iter(parts)
        parts = [next(in_order) if name in wanted else None for name in names]
    if wanted is None:
        return parts
    for name, part in zip(names, parts, strict=True):
        if part is None and name in wanted:
            raise ValueError(f"y has nothing for the output {name!r}, which has a loss.")
    return [part if name in wanted else None for name, part in zip(names, parts, strict=True)]


def _weights(value: Any, names: Sequence[str] | None, count: int) -> list[Column | None]:
    if value is None:
        return [None] * count
    if isinstance(value, Mapping):
        unknown = [key for key in value if names is not None and key not in names]
        if unknown:
            raise ValueError(f"sample_weight names {unknown[0]!r}, which is no output. The outputs are {list(names or [])}.")
        parts = [value.get(name) for name in names or value]
    elif isinstance(value, tuple):
        raise TypeError("sample_weight is an array, or a list or dict of arrays, got a tuple.")
    else:
        parts = _parts(value, "sample_weight", count)
    if len(parts) != count:
        wanted = f"the model has {count} outputs: give a list or dict with an entry for each"
        raise ValueError(f"sample_weight has {len(parts)} entries, but {wanted}.")
    return [None if part is None else column(part, "sample_weight") for part in parts]


def _check_samples(x: Sequence[Any], y: Sequence[Any], weights: Sequence[Any]) -> None:
    found = set()
    for part in (*x, *y, *weights):
        if part is not None and not isinstance(part, Whole):
            found.add(len(part))
    if len(found) > 1:
        groups = {"x": x, "y": y, "sample_weight": weights}
        counts = {name: [len(part) for part in parts if part is not None and not isinstance(part, Whole)] for name, parts in groups.items()}
        shown = ", ".join(f"{name}: {group}" for name, group in counts.items() if group)
        raise ValueError(f"All arrays must have the same number of samples, got {shown}.")
    if found == {0}:
        raise ValueError("The data holds no samples.")


def split(arrays: Arrays, validation_split: float) -> tuple[Arrays, Arrays]:
    """Keep the last share of the samples apart. Raises `ValueError` for a share that leaves none on either side.

    >>> train, validation = split(arrays_of(torch.ones(8, 1), None, None, Signature()), 0.25)
    >>> train.samples, validation.samples
    (6, 2)
    """
    if not isinstance(validation_split, Real) or not 0 < validation_split < 1:
        raise ValueError(f"validation_split must lie between 0 and 1, got {validation_split!r}.")
    if not arrays.columns:
        raise ValueError(f"validation_split={validation_split} needs arrays, but the model feeds itself. Use validation_data.")
    at = int(arrays.samples * (1 - validation_split))
    if at == 0 or at == arrays.samples:
        raise ValueError(f"validation_split={validation_split} leaves no samples on one side of {arrays.samples}.")
    return arrays.part(0, at), arrays.part(at, arrays.samples)
