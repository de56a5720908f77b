"""The border: whatever a user passes becomes batches of tensors on the model's device, and tensors become numpy.

Past this file nobody asks again what type something is: a batch is `(x, y, sample_weight)`, where `x` is a tensor,
or the list or dict of tensors that the model takes, and `y` and `sample_weight` are a tensor, or a list with an entry
for each of several outputs.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from torchkeras_fn.engine.device import to_device
from torchkeras_fn.engine.symbolic import Shape

Batch = tuple[Any, Any, Any]
Take = Callable[[Any], torch.Tensor]


@dataclass
class Signature:
    """What a model says of the data it takes; `None` where it says nothing, as a plain module does."""

    input_names: list[str] | None = None
    input_shapes: list[Shape] = field(default_factory=list)
    input_dtypes: list[torch.dtype] = field(default_factory=list)
    output_names: list[str] | None = None
    output_shapes: list[Shape] = field(default_factory=list)
    float_dtype: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")


@dataclass
class Arrays:
    """Data in memory: one entry per array, each with the samples along its first axis. `rebuild` gives `x` its structure."""

    x: list[torch.Tensor]
    y: list[torch.Tensor | None]
    sample_weight: list[torch.Tensor | None]
    rebuild: Callable[[list[Any]], Any]
    x_dtypes: list[torch.dtype | None]

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.x[0])

    def part(self, start: int, stop: int) -> "Arrays":
        """Return the samples from `start` to `stop`, sharing memory."""

        def cut(tensors: Sequence[Any]) -> list[Any]:
            return [None if tensor is None else tensor[start:stop] for tensor in tensors]

        return Arrays(cut(self.x), cut(self.y), cut(self.sample_weight), self.rebuild, self.x_dtypes)


class ArrayBatches:
    """The batches of arrays: one gather per array and batch, in a new random order at each iteration if `shuffle`."""

    def __init__(self, arrays: Arrays, batch_size: int, shuffle: bool, signature: Signature):
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.samples = arrays.samples
        floats, device = signature.float_dtype, signature.device
        self._x = [_taker(tensor, device, floats, dtype) for tensor, dtype in zip(arrays.x, arrays.x_dtypes, strict=True)]
        self._y = [None if tensor is None else _taker(tensor, device, floats) for tensor in arrays.y]
        self._w = [None if tensor is None else _taker(tensor, device, floats, floats) for tensor in arrays.sample_weight]

    def __len__(self) -> int:
        return -(-self.samples // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rebuild, take_x, take_y, take_w = self.arrays.rebuild, self._x, self._y, self._w
        indices: Sequence[Any]
        if self.shuffle:
            indices = torch.randperm(self.samples).split(self.batch_size)
        else:
            indices = [slice(start, start + self.batch_size) for start in range(0, self.samples, self.batch_size)]
        for index in indices:
            yield (
                rebuild([take(index) for take in take_x]),
                natural([None if take is None else take(index) for take in take_y]),
                natural([None if take is None else take(index) for take in take_w]),
            )


def natural(parts: list[Any]) -> Any:
    """Return the only entry of a list of one, `None` for an empty list, and longer lists as they are.

    >>> natural([3]), natural([3, 4])
    (3, [3, 4])
    """
    return parts[0] if len(parts) == 1 else parts or None


def _taker(tensor: torch.Tensor, device: torch.device, floats: torch.dtype, dtype: torch.dtype | None = None) -> Take:
    """Return the function that takes some samples, casts them and moves them; only the steps that are needed."""
    target = dtype or (floats if tensor.dtype.is_floating_point else tensor.dtype)
    here, there = tensor.device, device

    def take(index: Any) -> torch.Tensor:
        return tensor[index] if isinstance(index, slice) else tensor.index_select(0, index)

    def take_elsewhere(index: Any) -> torch.Tensor:
        return take(index if isinstance(index, slice) else index.to(here))

    gather = take if here.type == "cpu" else take_elsewhere
    if tensor.dtype == target and here == there:
        return gather
    return lambda index: to_device(gather(index).to(target), there)


def to_tensor(data: Any, what: str) -> torch.Tensor:
    """Return an array, or nested lists of numbers, as a tensor that shares its memory where it can.

    Raises `ValueError` for what is no array of numbers, named by `what`.

    >>> to_tensor([[1, 2], [3, 4]], "x").shape
    torch.Size([2, 2])
    """
    if isinstance(data, torch.Tensor):
        return data.detach() if data.requires_grad else data
    array = np.asarray(data)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{what} is not an array of numbers: got {type(data).__name__} with dtype {array.dtype}.")
    if any(stride < 0 for stride in array.strides) or not array.dtype.isnative:
        array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        try:
            return torch.from_numpy(array)
        except TypeError:
            return torch.from_numpy(array.astype(np.int64 if array.dtype.kind in "iu" else np.float32))


def is_array(data: Any) -> bool:
    """Return whether this is one array: it has a shape, or it is nested lists of numbers.

    >>> is_array([1, 2]), is_array([np.ones(2), np.ones(3)])
    (True, False)
    """
    if hasattr(data, "shape"):
        return True
    while isinstance(data, (list, tuple)):
        if not data or any(hasattr(part, "shape") and getattr(part, "ndim", 0) > 0 for part in data):
            return False
        data = data[0]
    return isinstance(data, (int, float, bool, np.number)) or hasattr(data, "shape")


def arrays_of(x: Any, y: Any, sample_weight: Any, signature: Signature, targets: Sequence[str] | None) -> Arrays:
    """Check the arrays a user passed, and put them in order. Raises `ValueError` that names the one that does not fit.

    `targets` names the outputs that have a loss; `None` where nothing is compared, or the outputs are not known.
    """
    inputs, rebuild = _inputs(x, signature)
    outputs = signature.output_names
    targets_in_order = _per_output(y, outputs, targets, "y")
    weights = _weights_per_output(sample_weight, outputs, len(targets_in_order))
    for tensor, name in [(t, f"x[{i}]") for i, t in enumerate(inputs)] + [(t, "y") for t in targets_in_order if t is not None]:
        if tensor.ndim == 0:
            raise ValueError(f"{name} is a single number. Expected an array with the samples along its first axis.")
    _check_samples(inputs, targets_in_order, weights)
    _check_weights(weights, targets_in_order)
    dtypes: list[torch.dtype | None] = list(signature.input_dtypes) if signature.input_names else [None] * len(inputs)
    return Arrays(inputs, targets_in_order, weights, rebuild, dtypes)


def _inputs(x: Any, signature: Signature) -> tuple[list[torch.Tensor], Callable[[list[Any]], Any]]:
    names = signature.input_names
    if x is None:
        raise ValueError("x is None. Expected the input data: arrays or tensors.")
    if names is None:
        if isinstance(x, Mapping):
            keys = list(x)
            return [to_tensor(x[key], f"x[{key!r}]") for key in keys], lambda parts: dict(zip(keys, parts, strict=True))
        if is_array(x):
            return [to_tensor(x, "x")], _only
        return [to_tensor(part, f"x[{index}]") for index, part in enumerate(x)], list
    if isinstance(x, Mapping):
        missing, extra = [n for n in names if n not in x], [n for n in x if n not in names]
        if missing or extra:
            raise ValueError(f"x has data for {list(x)}, but the model's inputs are {names}.")
        x = [x[name] for name in names]
    elif is_array(x):
        x = [x]
    if len(x) != len(names):
        shown = [tuple(getattr(part, "shape", ())) for part in x]
        raise ValueError(f"The model has {len(names)} inputs {names}, but x holds {len(x)} arrays of shapes {shown}.")
    tensors = []
    for part, name, shape in zip(x, names, signature.input_shapes, strict=True):
        if part is None:
            raise ValueError(f"The data for input {name!r} is None.")
        tensors.append(_fit_input(to_tensor(part, f"The data for input {name!r}"), name, shape))
    return tensors, _only if len(names) == 1 else list


def _only(parts: list[Any]) -> Any:
    return parts[0]


def _fit_input(tensor: torch.Tensor, name: str, shape: Shape) -> torch.Tensor:
    if tensor.ndim == 1 and len(shape) == 2 and shape[1] in (1, None):
        tensor = tensor.unsqueeze(1)
    fits = tensor.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape[1:], tensor.shape[1:], strict=True))
    if not fits:
        raise ValueError(f"Input {name!r} expects data of shape {shape}, got {tuple(tensor.shape)}.")
    return tensor


def _per_output(value: Any, names: Sequence[str] | None, targets: Sequence[str] | None, what: str) -> list[torch.Tensor | None]:
    """One tensor (or `None`) for each output. A list may cover all outputs, or only those that have a loss."""
    if value is None:
        if targets:
            raise ValueError(f"{what} is None, but the outputs {list(targets)} have a loss and need targets.")
        return [None] * len(names or [])
    if isinstance(value, Mapping):
        if names is None:
            return [to_tensor(part, f"{what}[{key!r}]") for key, part in value.items()]
        base = {name: name if name in value else name.rpartition("_")[0] for name in names}
        unknown = [key for key in value if key not in base.values()]
        if unknown:
            raise ValueError(f"{what} has data for {unknown[0]!r}, which is no output. The outputs are {list(names)}.")
        chosen = [value.get(base[name]) for name in names]
    elif is_array(value):
        chosen = [value]
    else:
        chosen = list(value)
    wanted = list(targets) if targets is not None else names
    if names is not None and len(chosen) != len(names):
        if wanted is None or len(chosen) != len(wanted):
            raise ValueError(f"The model has {len(names)} outputs {list(names)}, but {what} holds {len(chosen)} arrays.")
        in_order = iter(chosen)
        chosen = [next(in_order) if name in wanted else None for name in names]
    if names is not None and targets is not None:
        for name, part in zip(names, chosen, strict=True):
            if part is None and name in targets:
                raise ValueError(f"{what} has nothing for the output {name!r}, which has a loss.")
        chosen = [part if name in targets else None for name, part in zip(names, chosen, strict=True)]
    return [None if part is None else to_tensor(part, what) for part in chosen]


def _weights_per_output(value: Any, names: Sequence[str] | None, count: int) -> list[torch.Tensor | None]:
    if value is None:
        return [None] * count
    if isinstance(value, Mapping):
        unknown = [key for key in value if names is not None and key not in names]
        if unknown:
            raise ValueError(f"sample_weight names {unknown[0]!r}, which is no output. The outputs are {list(names or [])}.")
        chosen = [value.get(name) for name in names or value]
    elif not isinstance(value, (list, tuple)) and not hasattr(value, "shape"):
        raise TypeError(f"sample_weight is an array, or a list or dict of arrays, got {type(value).__name__}.")
    else:
        chosen = [value] if is_array(value) else list(value)
    if len(chosen) == 1 < count:
        raise ValueError(f"The model has {count} outputs: give sample_weight as a list or dict with an entry for each.")
    if len(chosen) != count:
        raise ValueError(f"sample_weight has {len(chosen)} entries for {count} outputs.")
    return [None if part is None else to_tensor(part, "sample_weight") for part in chosen]


def _check_samples(x: Sequence[Any], y: Sequence[Any], weights: Sequence[Any]) -> None:
    groups = {"x": x, "y": y, "sample_weight": weights}
    counts = {name: [len(tensor) for tensor in tensors if tensor is not None and tensor.ndim] for name, tensors in groups.items()}
    if len({count for group in counts.values() for count in group}) > 1:
        shown = ", ".join(f"{name}: {group}" for name, group in counts.items() if group)
        raise ValueError(f"All arrays must have the same number of samples, got {shown}.")
    if x and len(x[0]) == 0:
        raise ValueError("x holds no samples.")


def _check_weights(weights: Sequence[Any], targets: Sequence[Any]) -> None:
    for weight, target in zip(weights, targets, strict=True):
        if weight is not None and (weight.ndim == 0 or (target is not None and weight.ndim > max(target.ndim, 1))):
            raise ValueError(f"sample_weight of shape {tuple(weight.shape)} does not fit targets of shape {tuple(target.shape)}.")


def split(arrays: Arrays, validation_split: float) -> tuple[Arrays, Arrays]:
    """Keep the last share of the samples apart. Raises `ValueError` for a share that leaves none on either side."""
    if not 0 < validation_split < 1:
        raise ValueError(f"validation_split must lie between 0 and 1, got {validation_split!r}.")
    at = int(arrays.samples * (1 - validation_split))
    if at == 0 or at == arrays.samples:
        raise ValueError(f"validation_split={validation_split} leaves no samples on one side of {arrays.samples}.")
    return arrays.part(0, at), arrays.part(at, arrays.samples)


def check_batch_size(batch_size: Any) -> int:
    """Return the batch size, 32 unless given. Raises `ValueError` where it is not a positive integer.

    >>> check_batch_size(None)
    32
    """
    if batch_size is None:
        return 32
    if isinstance(batch_size, bool) or not isinstance(batch_size, (int, np.integer)) or batch_size < 1:
        raise ValueError(f"batch_size must be a positive integer, got {batch_size!r}.")
    return int(batch_size)
