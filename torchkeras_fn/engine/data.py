"""The border: whatever a user passes becomes batches of tensors on the model's device.

Past this file nobody asks again what type something is: a batch is `(x, y, sample_weight)`, where `x` is a tensor,
or the list or dict of tensors that the model takes, and `y` and `sample_weight` are a tensor, or a list with an entry
for each of several outputs.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from torchkeras_fn.engine.batches.arrays import Arrays, Signature, arrays_of, split
from torchkeras_fn.engine.batches.border import Border
from torchkeras_fn.engine.batches.columns import Column, Whole, column
from torchkeras_fn.engine.batches.dealing import part_of, rows_in
from torchkeras_fn.engine.batches.loaders import LoaderSource, batch_starts, dataset_source
from torchkeras_fn.engine.batches.loading import Epochs
from torchkeras_fn.engine.batches.sources import GeneratorSource, SequenceSource, Source
from torchkeras_fn.engine.batches.staging import ahead, is_worth_it, staged
from torchkeras_fn.engine.batches.unpacking import InTuple, as_it_came, has_parts, shown, unpack
from torchkeras_fn.engine.batches.workers import Loading
from torchkeras_fn.engine.device import to_device
from torchkeras_fn.engine.processes.processes import Processes

Batch = tuple[Any, Any, Any]
_STEPS_NEEDED = "so the number of steps is needed: steps_per_epoch, validation_steps or steps."


class Gather:
    """Turns row numbers into a batch: one read per column, cast and moved where needed."""

    def __init__(self, arrays: Arrays, signature: Signature):
        floats, device = signature.float_dtype, signature.device
        self._made_of = arrays, signature
        self._rebuild, self._weights, self._keys = arrays.rebuild, signature.class_weights, arrays.keys
        self._x = [_taker(part, device, floats, dtype) for part, dtype in zip(arrays.x, arrays.x_dtypes, strict=True)]
        self._y = [None if part is None else _taker(part, device, floats) for part in arrays.y]
        self._w = [None if part is None else _taker(part, device, floats, floats) for part in arrays.sample_weight]
        for index, feed in signature.targets_fed.items():
            self._y[index] = _feeder(feed, device)

    def __call__(self, index: Any) -> Batch:
        """Return the batch of these rows."""
        taken: list[Any] = []
        y: list[Any] = []
        weight: list[Any] = []
        for take in self._x:
            taken.append(take(index))
        x = self._rebuild(taken)
        for into, takers in ((y, self._y), (weight, self._w)):
            for maybe in takers:
                into.append(None if maybe is None else maybe(index))
        if self._weights is not None:
            weight = self._weights.combine(y, weight)
        return (x, natural(y), natural(weight)) if self._keys is None else (x, *_named(self._keys, y, weight))

    def each(self, rows: Sequence[Any]) -> Iterator[Batch]:
        """Yield the batches of several row numbers: made ready ahead of time where the arrays are here and the model is not."""
        arrays, signature = self._made_of
        if signature.fed or signature.targets_fed:
            return map(self, rows)
        if len(rows) > 1 and is_worth_it(arrays.columns, signature.device):
            return staged(Gather(arrays, replace(signature, device=torch.device("cpu"))), rows, signature.device, arrays.columns)
        if self._weights is not None or self._keys is not None:
            return map(self, rows)
        x, y, weight = [[_each(take, rows) for take in takers] for takers in (self._x, self._y, self._w)]
        inputs = x[0] if self._rebuild(x) is x[0] else map(self._rebuild, map(list, zip(*x, strict=True)))
        return zip(inputs, _side_by_side(y), _side_by_side(weight), strict=False)


def natural(parts: list[Any]) -> Any:
    """Return the only entry of a list of one, `None` for an empty list, and longer lists as they are.

    >>> natural([3]), natural([3, 4])
    (3, [3, 4])
    """
    return parts[0] if len(parts) == 1 else parts or None


def _named(keys: Sequence[str], y: list[Any], weight: list[Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Targets and weights in dicts by the names of the targets, where the order of the outputs is not known."""
    return dict(zip(keys, y, strict=True)), None if all(part is None for part in weight) else dict(zip(keys, weight, strict=True))


def _taker(part: Column, device: torch.device, floats: torch.dtype, dtype: torch.dtype | None = None) -> Callable[[Any], torch.Tensor]:
    """Return the function that takes some rows, casts them and moves them: only the steps that are needed."""
    if isinstance(part, Whole):
        return lambda index: part.on(device, floats)
    target = dtype or (floats if part.dtype.is_floating_point else part.dtype)
    if part.dtype == target and part.device == device:
        return part.take
    return lambda index: to_device(part.take(index).to(target), device)


def _each(take: Callable[[Any], Any] | None, rows: Sequence[Any]) -> Iterator[Any]:
    """What a taker returns for each of the rows; `None` for ever where there is none."""
    if take is None:
        return repeat(None)
    column = getattr(take, "__self__", None)
    return column.each(rows) if isinstance(column, Column) else map(take, rows)


def _side_by_side(parts: list[Iterator[Any]]) -> Iterator[Any]:
    """The `natural` form of what several iterators yield at a time."""
    if not parts:
        return repeat(None)
    return parts[0] if len(parts) == 1 else map(list, zip(*parts, strict=False))


def _feeder(feed: Callable[[], torch.Tensor], device: torch.device) -> Callable[[Any], torch.Tensor]:
    return lambda index: to_device(feed(), device)


class RowSource(Source):
    """Passes over rows that can be read in any order: a batch is known by its row numbers before anything is read."""

    is_planned = True
    batch_size = 32

    @property
    def is_dealt(self) -> bool:  # type: ignore[override]
        """Whether each process has a part of the rows."""
        return self.processes is not None

    def total_at(self, position: int) -> int:
        """Return how many rows the processes have together."""
        return min(self._rows_at_once(), int(self.samples or 0) - position * self._rows_at_once())

    def rows_at(self, position: int, rows: int) -> int:
        """Return how many rows are this process's."""
        return rows_in(self.total_at(position), self.processes) if self.processes is not None else rows

    def _rows_at_once(self) -> int:
        return self.batch_size * (1 if self.processes is None else self.processes.count)


class ArraySource(RowSource):
    """Passes over arrays. `shuffle` is `True` (new order of the samples), `'batch'` (of whole batches), or `False`.

    Beside tensors that the model feeds itself, the rows keep their order, for theirs is fixed.
    """

    def __init__(self, arrays: Arrays, batch_size: int, shuffle: Any, signature: Signature, processes: Processes | None = None):
        self.arrays, self.columns = arrays, arrays.columns
        self.samples, self.batch_size = len(self.columns[0]), batch_size  # of what is whole there is no length
        self.shuffle = False if signature.fed or signature.targets_fed else shuffle
        self.processes, self.is_planned = processes, set(map(type, self.columns)) == {Column}
        self._gather = Gather(arrays, signature)
        self.steps = -(-self.samples // self._rows_at_once())

    def one_pass(self) -> Iterator[Batch]:
        """Yield each batch of a pass."""
        return self.pass_after(0)

    def pass_after(self, count: int) -> Iterator[Batch]:
        """Yield the batches after the first `count`, which are not read."""
        return self._gather.each(_rows(int(self.samples or 0), self.batch_size, self.shuffle, self.processes)[count:])


class TensorSource(RowSource):
    """Passes over the tensors of a `TensorDataset`, whose batches are gathered at once instead of sample by sample."""

    batches_are_pairs = True

    def __init__(self, tensors: Sequence[torch.Tensor], batch_size: int, shuffle: Any, processes: Processes | None = None):
        self.columns = [column(tensor, f"Tensor {index} of the data set") for index, tensor in enumerate(tensors)]
        self.samples, self.batch_size, self.shuffle, self.processes = len(self.columns[0]), batch_size, shuffle, processes
        self.steps = -(-self.samples // self._rows_at_once())

    def one_pass(self) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield each batch of a pass."""
        return self.pass_after(0)

    def pass_after(self, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Yield the batches after the first `count`, which are not read."""
        rows = _rows(int(self.samples or 0), self.batch_size, self.shuffle, self.processes)[count:]
        if len(rows) > 1 and is_worth_it(self.columns, self.device):
            return ahead(self._take, rows, self.device, self.columns)
        return zip(*(part.each(rows) for part in self.columns), strict=True)

    def first(self) -> tuple[torch.Tensor, ...]:
        """Return the first rows."""
        return self._take(slice(0, self.batch_size))

    def _take(self, index: Any) -> tuple[torch.Tensor, ...]:
        return tuple(part.take(index) for part in self.columns)


def _rows(samples: int, size: int, shuffle: Any, processes: Processes | None = None) -> Sequence[Any]:
    """The row numbers of each batch of a pass; of this process's part of it, where there are several `processes`."""
    if processes is not None:
        whole = partial(_rows, samples, size * processes.count, shuffle)
        return [part_of(rows, samples, processes) for rows in (processes.as_first(whole) if shuffle else whole())]
    if shuffle and shuffle != "batch":
        order = torch.randperm(samples, device="cpu")
        return order.split(size) if samples > size else [order]  # a `fit` of one batch is short enough for a split to show
    return [slice(start, start + size) for start in batch_starts(samples, size, shuffle=shuffle == "batch")]


class FedSource(Source):
    """Endless batches of a model that feeds itself, from `Input(tensor=...)` and `target_tensors`."""

    def __init__(self, arrays: Arrays, signature: Signature):
        self._gather = Gather(arrays, signature)

    def one_pass(self) -> Iterator[Batch]:
        """Yield batches for ever."""
        while True:
            yield self._gather(slice(None))

    def pass_after(self, count: int) -> Iterator[Batch]:
        """Yield batches for ever, which are all alike."""
        return self.one_pass()


def is_batches(x: Any) -> bool:
    """Return whether this gives batches, rather than being one array or several.

    >>> is_batches(iter([1])), is_batches([1, 2])
    (True, False)
    """
    if isinstance(x, type):  # which is told to be an object
        return False
    if isinstance(x, (DataLoader, Dataset)) or hasattr(x, "on_epoch_end"):
        return True
    if x is None or isinstance(x, (torch.Tensor, list, tuple, Mapping, str)) or hasattr(x, "shape") or hasattr(x, "__array__"):
        return False
    return hasattr(x, "__next__") or hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))


def open_batches(
    x: Any,
    batch_size: int,
    shuffle: Any,
    loading: Loading,
    signature: Signature,
    with_targets: bool,
    steps: int | None,
    processes: Processes | None = None,
) -> Epochs:
    """Return batches out of a `Sequence`, a generator or iterator, a torch data set or a `DataLoader`.

    Where there are several `processes`, they are this one's share; generators, and what else cannot be told, come as they are.
    """
    source: Source
    if type(x) is TensorDataset:
        source = TensorSource(x.tensors, batch_size, shuffle, processes)
    elif isinstance(x, DataLoader):
        source = LoaderSource(x, processes=processes, in_order=not with_targets)
    elif isinstance(x, Dataset):
        source = dataset_source(x, batch_size, shuffle, loading, processes)
    elif hasattr(x, "__getitem__") and hasattr(x, "__len__"):
        if _length(x) == sys.maxsize and steps is None:
            raise ValueError(f"The {type(x).__name__} is endless, {_STEPS_NEEDED}")
        source = SequenceSource(x, bool(shuffle), replace(loading, **getattr(x, "loading_options", {})), processes)
    elif hasattr(x, "__next__"):
        steps = len(x) if steps is None and hasattr(x, "__len__") else steps
        if steps is None:
            raise ValueError(f"A generator may be endless, {_STEPS_NEEDED}")
        source = GeneratorSource(x, loading)
    else:
        source = LoaderSource(x)
    if source.steps == 0:
        raise ValueError(f"The {type(x).__name__} holds no batches.")
    return Epochs(source, converter(source, signature, with_targets), steps)


def _length(x: Any) -> int:
    """How many batches something says it has. Raises `TypeError`, as `len` does, where that is no whole number."""
    try:
        return len(x)
    except TypeError as error:
        raise TypeError(f"The length of a {type(x).__name__} is its number of batches, rounded up: int(np.ceil(...)). {error}.") from error


def converter(source: Source, signature: Signature, with_targets: bool, for_own_step: bool = False) -> Callable[[Any], Batch]:
    """Return the function that makes a batch of tensors of what a source gives; a step of the user's may be given it as it came."""
    inputs = len(signature.input_names or [0])
    names, wanted, fed = signature.output_names or [], signature.targets or [], signature.targets_fed
    border = Border(signature)
    needed = [name for index, name in enumerate(names) if name in wanted and index not in fed]

    def convert(raw: Any) -> Batch:
        if type(raw) in (tuple, list) and len(raw) == 2 and with_targets:  # the usual, which takes no taking apart
            (x, y), weight = raw, None
        else:
            x, y, weight = unpack(raw, with_targets, source.batches_are_pairs, inputs)
        batch = border.made(border.batches, x, y) if weight is None else None
        if batch is not None:
            return batch
        if with_targets and y is None and needed:
            raise ValueError(f"A batch is (x, y) or (x, y, sample_weight): the outputs {needed} need targets. What came: {shown(raw)}.")
        return batch_of(x, y, weight, signature, border)

    def convert_for_own_step(raw: Any) -> Batch:
        whole = as_it_came(raw, signature, with_targets, source.batches_are_pairs)
        if whole is not None:
            return whole, None, None
        batch = convert(raw)
        came_in_tuple = has_parts(raw, with_targets, source.batches_are_pairs, inputs) and (len(raw) == 1 or not with_targets)
        return InTuple(batch) if came_in_tuple else batch  # type: ignore[return-value]

    return convert_for_own_step if for_own_step else convert


def batch_of(x: Any, y: Any, sample_weight: Any, signature: Signature, border: Border | None = None) -> Batch:
    """Return data as one batch of tensors, and let the `border` learn how that is made."""
    arrays = arrays_of(x, y, sample_weight, signature)
    if border is not None:
        border.learn(x, y, arrays)
    rows = slice(0, arrays.samples) if arrays.columns and not arrays.are_whole else slice(None)
    return Gather(arrays, signature)(rows)


def check_batch_size(batch_size: Any) -> int:
    """Return the batch size, 32 unless given. Raises `ValueError` where it is not a positive integer.

    >>> check_batch_size(None)
    32
    """
    return 32 if batch_size is None else check_count(batch_size, "batch_size")


def check_steps(steps: Any) -> int:
    """Return the number of steps: one more for a part of one, as in Keras 2. Raises `ValueError` for what is no positive number.

    >>> check_steps(100 / 32)
    4
    """
    is_part = isinstance(steps, (float, np.floating)) and math.isfinite(steps)
    return check_count(math.ceil(steps) if is_part else steps, "The number of steps")


def check_count(value: Any, argument: str) -> int:
    """Return a positive integer. Raises `ValueError` that names the argument for anything else.

    >>> check_count(np.int64(3), "steps")
    3
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise ValueError(f"{argument} must be a positive integer, got {value!r}.")
    return int(value)


__all__ = [
    "ArraySource",
    "Arrays",
    "Batch",
    "FedSource",
    "Gather",
    "Signature",
    "TensorSource",
    "arrays_of",
    "batch_of",
    "check_batch_size",
    "check_count",
    "check_steps",
    "converter",
    "is_batches",
    "natural",
    "open_batches",
    "split",
]
