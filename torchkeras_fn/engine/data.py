"""The border: whatever a user passes becomes batches of tensors on the model's device.

Past this file nobody asks again what type something is: a batch is `(x, y, sample_weight)`, where `x` is a tensor,
or the list or dict of tensors that the model takes, and `y` and `sample_weight` are a tensor, or a list with an entry
for each of several outputs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchkeras_fn.engine.columns import Column, column, is_array
from torchkeras_fn.engine.device import to_device
from torchkeras_fn.engine.loading import Epochs, GeneratorSource, Loading, LoaderSource, SequenceSource, Source, dataset_source
from torchkeras_fn.engine.symbolic import Shape
from torchkeras_fn.engine.weighting import ClassWeights, check_sample_weight

Batch = tuple[Any, Any, Any]


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


@dataclass
class Arrays:
    """Data that has been checked and put in order: a column of samples per input, and one or `None` per output."""

    x: list[Column]
    y: list[Column | None]
    sample_weight: list[Column | None]
    x_dtypes: list[torch.dtype | None]
    rebuild: Callable[[list[Any]], Any]

    @property
    def columns(self) -> list[Column]:
        """All columns there are."""
        return [part for part in [*self.x, *self.y, *self.sample_weight] if part is not None]

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.columns[0])

    def part(self, start: int, stop: int) -> "Arrays":
        """Return the samples from `start` to `stop`, sharing memory."""

        def cut(columns: Sequence[Any]) -> list[Any]:
            return [None if part is None else part.part(start, stop) for part in columns]

        return Arrays(cut(self.x), cut(self.y), cut(self.sample_weight), self.x_dtypes, self.rebuild)


class Gather:
    """Turns row numbers into a batch: one read per column, cast and moved where needed."""

    def __init__(self, arrays: Arrays, signature: Signature):
        floats, device = signature.float_dtype, signature.device
        self._rebuild, self._weights = arrays.rebuild, signature.class_weights
        self._x = [_taker(part, device, floats, dtype) for part, dtype in zip(arrays.x, arrays.x_dtypes, strict=True)]
        self._y = [None if part is None else _taker(part, device, floats) for part in arrays.y]
        self._w = [None if part is None else _taker(part, device, floats, floats) for part in arrays.sample_weight]
        for index, feed in signature.targets_fed.items():
            self._y[index] = _feeder(feed, device)

    def __call__(self, index: Any) -> Batch:
        """Return the batch of these rows."""
        x = self._rebuild([take(index) for take in self._x])
        y = [None if take is None else take(index) for take in self._y]
        weight = [None if take is None else take(index) for take in self._w]
        if self._weights is not None:
            weight = self._weights.combine(y, weight)
        return x, natural(y), natural(weight)


def natural(parts: list[Any]) -> Any:
    """Return the only entry of a list of one, `None` for an empty list, and longer lists as they are.

    >>> natural([3]), natural([3, 4])
    (3, [3, 4])
    """
    return parts[0] if len(parts) == 1 else parts or None


def _taker(part: Column, device: torch.device, floats: torch.dtype, dtype: torch.dtype | None = None) -> Callable[[Any], torch.Tensor]:
    """Return the function that takes some rows, casts them and moves them: only the steps that are needed."""
    target = dtype or (floats if part.dtype.is_floating_point else part.dtype)
    if part.dtype == target and part.device == device:
        return part.take
    return lambda index: to_device(part.take(index).to(target), device)


def _feeder(feed: Callable[[], torch.Tensor], device: torch.device) -> Callable[[Any], torch.Tensor]:
    return lambda index: to_device(feed(), device)


class ArraySource(Source):
    """Passes over arrays. `shuffle` is `True` (new order of the samples), `'batch'` (of whole batches), or `False`."""

    def __init__(self, arrays: Arrays, batch_size: int, shuffle: Any, signature: Signature):
        self.samples, self.batch_size, self.shuffle = arrays.samples, batch_size, shuffle
        self._gather = Gather(arrays, signature)
        self.steps = -(-self.samples // batch_size)

    def one_pass(self) -> Iterator[Batch]:
        """Yield each batch of a pass."""
        samples, size = int(self.samples or 0), self.batch_size
        if self.shuffle and self.shuffle != "batch":
            return map(self._gather, torch.randperm(samples).split(size))
        starts = list(range(0, samples, size))
        if self.shuffle == "batch":
            full = samples // size
            starts = [index * size for index in torch.randperm(full).tolist()] + starts[full:]
        return (self._gather(slice(start, start + size)) for start in starts)


class FedSource(Source):
    """Endless batches of a model that feeds itself, from `Input(tensor=...)` and `target_tensors`."""

    def __init__(self, arrays: Arrays, signature: Signature):
        self._gather = Gather(arrays, signature)

    def one_pass(self) -> Iterator[Batch]:
        """Yield batches for ever."""
        while True:
            yield self._gather(slice(None))


def is_batches(x: Any) -> bool:
    """Return whether this gives batches, rather than being one array or several.

    >>> is_batches(iter([1])), is_batches([1, 2])
    (True, False)
    """
    if isinstance(x, (DataLoader, Dataset, IterableDataset)):
        return True
    if x is None or hasattr(x, "shape") or isinstance(x, (list, tuple, Mapping, str)) or hasattr(x, "iloc"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def open_batches(x: Any, batch_size: int, shuffle: Any, loading: Loading, signature: Signature, with_targets: bool, steps: int | None) -> Epochs:
    """Return batches out of a `Sequence`, a generator or iterator, a torch data set or a `DataLoader`."""
    source: Source
    if isinstance(x, TensorDataset) and len(x.tensors) <= 3:
        parts = (*x.tensors, None, None)[:3] if with_targets else (x.tensors[0], None, None)
        return Epochs(ArraySource(arrays_of(*parts, signature), batch_size, shuffle, signature), _as_it_is, steps)
    if isinstance(x, DataLoader):
        source = LoaderSource(x)
    elif isinstance(x, Dataset):
        source = dataset_source(x, batch_size, shuffle, loading)
    elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        source = SequenceSource(x, bool(shuffle), loading)
    elif hasattr(x, "__next__"):
        if steps is None:
            raise ValueError("The number of steps must be given for a generator, which may be endless: steps_per_epoch, steps or validation_steps.")
        source = GeneratorSource(x, loading)
    else:
        source = LoaderSource(x)

    return Epochs(source, converter(source, signature, with_targets), steps)


def converter(source: Source, signature: Signature, with_targets: bool) -> Callable[[Any], Batch]:
    """Return the function that makes a batch of tensors of what a source gives."""
    inputs = len(signature.input_names or [0])

    def convert(raw: Any) -> Batch:
        return batch_of(*unpack(raw, with_targets, source.batches_are_pairs, inputs), signature)

    return convert


def _as_it_is(batch: Batch) -> Batch:
    return batch


def unpack(raw: Any, with_targets: bool, lists_are_pairs: bool, inputs: int) -> tuple[Any, Any, Any]:
    """Take apart what a source gave as a batch: `(x, y)`, `(x, y, sample_weight)`, or `x` alone.

    Raises `ValueError` that shows what came where it is none of these.

    >>> unpack((1, 2), True, False, 1)
    (1, 2, None)
    """
    pair = isinstance(raw, tuple) or (isinstance(raw, list) and (with_targets or lists_are_pairs))
    if isinstance(raw, list) and lists_are_pairs and not with_targets and len(raw) == inputs > 1:
        pair = False
    if not pair:
        if raw is None:
            raise ValueError("A batch is (x, y) or (x, y, sample_weight), but None came.")
        return raw, None, None
    if not 1 <= len(raw) <= 3:
        raise ValueError(f"A batch is (x, y) or (x, y, sample_weight), but a {type(raw).__name__} of {len(raw)} came: {_shown(raw)}.")
    x, y, weight = (*raw, None, None)[:3]
    return (x, y, weight) if with_targets else (x, None, None)


def _shown(raw: Any) -> str:
    return repr([tuple(part.shape) if hasattr(part, "shape") else type(part).__name__ for part in raw])


def batch_of(x: Any, y: Any, sample_weight: Any, signature: Signature) -> Batch:
    """Return data as one batch of tensors."""
    arrays = arrays_of(x, y, sample_weight, signature)
    return Gather(arrays, signature)(slice(0, arrays.samples) if arrays.columns else slice(None))


def arrays_of(x: Any, y: Any, sample_weight: Any, signature: Signature) -> Arrays:
    """Check the arrays a user passed, and put them in order. Raises `ValueError` that names the one that does not fit."""
    inputs, dtypes, rebuild = _inputs(x, signature)
    targets = _targets(y, signature)
    weights = _weights(sample_weight, signature.output_names, len(targets))
    _check_samples(inputs, targets, weights)
    check_sample_weight(weights, targets, signature.output_shapes, signature.weight_modes)
    return Arrays(inputs, targets, weights, dtypes, rebuild)


def _inputs(x: Any, signature: Signature) -> tuple[list[Column], list[torch.dtype | None], Callable[[list[Any]], Any]]:
    if signature.input_names is None:
        if x is None:
            raise ValueError("x is None. Expected the input data: arrays, tensors, or something that gives batches.")
        if isinstance(x, Mapping):
            keys = list(x)
            return [column(x[key], f"x[{key!r}]") for key in keys], [None] * len(keys), lambda parts: dict(zip(keys, parts, strict=True))
        if is_array(x):
            return [column(x, "x")], [None], _only
        return [column(part, f"x[{index}]") for index, part in enumerate(x)], [None] * len(x), list
    fed = signature.fed
    names = [name for index, name in enumerate(signature.input_names) if index not in fed]
    if x is None and names:
        raise ValueError(f"x is None, but the inputs {names} need data.")
    parts = [] if x is None else x
    if isinstance(parts, Mapping):
        missing, extra = [n for n in names if n not in parts], [n for n in parts if n not in names]
        if missing or extra:
            raise ValueError(f"x has data for {list(parts)}, but the model's inputs are {names}.")
        parts = [parts[name] for name in names]
    elif is_array(parts) and not (isinstance(parts, (list, tuple)) and len(parts) == 0):
        parts = [parts]
    if len(parts) != len(names):
        shown = [tuple(getattr(part, "shape", ())) for part in parts]
        raise ValueError(f"The model takes data for {len(names)} inputs {names}, but x holds {len(parts)} arrays of shapes {shown}.")
    ordinary = [index for index in range(len(signature.input_names)) if index not in fed]
    columns = []
    for part, index in zip(parts, ordinary, strict=True):
        name = signature.input_names[index]
        if part is None:
            raise ValueError(f"The data for input {name!r} is None.")
        columns.append(_fit_input(column(part, f"The data for input {name!r}"), name, signature.input_shapes[index]))
    dtypes: list[torch.dtype | None] = [signature.input_dtypes[index] for index in ordinary]
    return columns, dtypes, _rebuilder(signature)


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
    fits = len(part.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape[1:], part.shape[1:], strict=True))
    if not fits:
        raise ValueError(f"Input {name!r} expects data of shape {shape}, got {part.shape}.")
    return part


def _targets(y: Any, signature: Signature) -> list[Column | None]:
    """One column (or `None`) for each output. A list may cover all outputs, or only those that have a loss."""
    names, wanted = signature.output_names, signature.targets
    if signature.targets_fed:
        if y is not None and not (isinstance(y, (list, tuple)) and all(part is None for part in y)):
            raise ValueError("The model was compiled with target_tensors, so no y can be passed.")
        return [None] * len(names or [None])
    if y is None:
        if wanted:
            raise ValueError(f"y is None, but the outputs {wanted} have a loss and need targets.")
        return [None] * len(names or [])
    if isinstance(y, Mapping):
        if names is None:
            return [column(part, f"y[{key!r}]") for key, part in y.items()]
        keys = [name if name in y else name.rpartition("_")[0] for name in names]
        unknown = [key for key in y if key not in keys]
        if unknown:
            raise ValueError(f"y has data for {unknown[0]!r}, which is no output. The outputs are {names}.")
        parts = [y.get(key) for key in keys]
    else:
        parts = [y] if is_array(y) else list(y)
    if names is not None and len(parts) != len(names):
        if wanted is None or len(parts) != len(wanted):
            raise ValueError(f"The model has {len(names)} outputs {names}, but y holds {len(parts)} arrays.")
        in_order = iter(parts)
        parts = [next(in_order) if name in wanted else None for name in names]
    if names is not None and wanted is not None:
        for name, part in zip(names, parts, strict=True):
            if part is None and name in wanted:
                raise ValueError(f"y has nothing for the output {name!r}, which has a loss.")
        parts = [part if name in wanted else None for name, part in zip(names, parts, strict=True)]
    return [None if part is None else column(part, "y") for part in parts]


def _weights(value: Any, names: Sequence[str] | None, count: int) -> list[Column | None]:
    if value is None:
        return [None] * count
    if isinstance(value, Mapping):
        unknown = [key for key in value if names is not None and key not in names]
        if unknown:
            raise ValueError(f"sample_weight names {unknown[0]!r}, which is no output. The outputs are {list(names or [])}.")
        parts = [value.get(name) for name in names or value]
    elif not isinstance(value, list) and not hasattr(value, "shape"):
        raise TypeError(f"sample_weight is an array, or a list or dict of arrays, got {type(value).__name__}.")
    else:
        parts = [value] if is_array(value) else list(value)
    if len(parts) != count:
        raise ValueError(f"sample_weight has {len(parts)} entries, but the model has {count} outputs: give a list or dict with an entry for each.")
    return [None if part is None else column(part, "sample_weight") for part in parts]


def _check_samples(x: Sequence[Any], y: Sequence[Any], weights: Sequence[Any]) -> None:
    groups = {"x": x, "y": y, "sample_weight": weights}
    counts = {name: [len(part) for part in parts if part is not None] for name, parts in groups.items()}
    found = {count for group in counts.values() for count in group}
    if len(found) > 1:
        shown = ", ".join(f"{name}: {group}" for name, group in counts.items() if group)
        raise ValueError(f"All arrays must have the same number of samples, got {shown}.")
    if found == {0}:
        raise ValueError("The data holds no samples.")


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
    return 32 if batch_size is None else check_count(batch_size, "batch_size")


def check_count(value: Any, argument: str) -> int:
    """Return a positive integer. Raises `ValueError` that names the argument for anything else.

    >>> check_count(np.int64(3), "steps")
    3
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{argument} must be a positive integer, got {value!r}.")
    return int(value)
