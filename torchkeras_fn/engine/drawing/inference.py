"""What comes out of a function, told by running it on tensors that hold no data.

The first try runs the real code on CPU tensors whose batch dimension is 0: no storage, no arithmetic, a few
microseconds. Where an empty batch cannot answer (a size that depends on the batch, a view with `-1`), the code runs
on `meta` tensors of two sizes; a dimension that differs between the two is unknown and reads `None`. Where `meta` tensors
cannot answer either, as what comes out depends on the data, it runs on small tensors of made-up numbers, again of two sizes.
"""

import os
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from torchkeras_fn.engine.basics import turns
from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.basics.untouched import Unwritten
from torchkeras_fn.engine.drawing import made_up

Size = tuple[int, ...]

# Two sizes for the batch and two for every other unknown dimension: far from usual layer sizes, with many divisors,
# so that halving and reshaping go through, and with different ratios, so that the two kinds are told apart.
_BATCH = (240, 600)
_UNKNOWN = (480, 960)
# What stands for each on data: small, but long enough for a function that takes the first ten, or the best twenty.
_ON_DATA = ((_BATCH, (2, 3)), (_UNKNOWN, (32, 64)), (made_up.COUNTED, (12, 20)))

_NO_DATA = ("meta", "unallocated storage")
"""How torch says that a tensor has no data."""


class InferenceError(ValueError):
    """A function refused the shapes it was given.

    >>> infer(torch.matmul, (Spec.of((None, 3), torch.float32), Spec.of((4, 5), torch.float32)), {})
    Traceback (most recent call last):
        ...
    torchkeras_fn.engine.drawing.inference.InferenceError: mat1 and mat2 shapes cannot be multiplied (0x3 and 4x5)
    """


@dataclass(frozen=True)
class Spec:
    """What is known of a tensor without its data: its size in a small and in a large run, and its dtype.

    A `number` (the size of an unknown dimension) is a pair of integers without a dtype.

    >>> Spec.of((None, 3), torch.float32).shape
    (None, 3)
    """

    small: Size
    large: Size
    dtype: torch.dtype
    number: tuple[int, int] | None = None

    @classmethod
    def of(cls, shape: Sequence[int | None], dtype: torch.dtype) -> "Spec":
        """Return the spec of a tensor of this shape; `None` stands for an unknown dimension, the first being the batch."""
        sizes = [
            tuple((_BATCH if axis == 0 else _UNKNOWN)[run] if dim is None else int(dim) for axis, dim in enumerate(shape)) for run in (0, 1)
        ]
        return cls(sizes[0], sizes[1], dtype)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The shape as a user reads it: `None` where the two runs differ."""
        return tuple(a if a == b else None for a, b in zip(self.small, self.large, strict=True))

    @property
    def lead(self) -> tuple[int, int] | None:
        """The first dimension in both runs; `None` for a scalar."""
        return (self.small[0], self.large[0]) if self.small else None


class _Uncertain(Exception):
    """The empty batch does not tell the output's shape."""


class _Now(threading.local):
    """What this thread is about."""

    random_state_moved = creating_weights = inferring = False


_now = _Now()
_one_thread = threading.RLock()
"""Held while random numbers are drawn that stay so, or that do not: in each case no other thread is to put the state back."""
_PATIENCE_SECONDS = 2.0


@contextmanager
def _alone() -> Iterator[None]:
    """Let no other thread infer or create weights; unless it has to, as this one waits for it."""
    is_held = _one_thread.acquire(timeout=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        if is_held:
            _one_thread.release()


def _begin_anew() -> None:
    """A forked process has none of the other threads."""
    global _one_thread
    _one_thread = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)


@contextmanager
def creating_weights() -> Iterator[None]:
    """Make real tensors, from random numbers that stay drawn, also while a function is being inferred.

    >>> with creating_weights():
    ...     weight = torch.zeros(3)
    """
    with _alone():
        outer, _now.creating_weights, _now.random_state_moved = _now.creating_weights, True, True
        try:
            yield
        finally:
            _now.creating_weights = outer


@contextmanager
def _untouched_random_state() -> Iterator[None]:
    before, outer = torch.get_rng_state(), _now.random_state_moved
    _now.random_state_moved = False
    try:
        yield
    finally:
        if not (_now.random_state_moved or turns.is_among_others()):  # who may have drawn numbers meanwhile, which are not to come again
            torch.set_rng_state(before)
        _now.random_state_moved = outer or _now.random_state_moved


def is_inferring() -> bool:
    """Return whether this thread runs a function for the shapes alone, so that what it writes to variables is no news.

    >>> is_inferring()
    False
    """
    return not torch.compiler.is_compiling() and _now.inferring and not _now.creating_weights


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Leave the module's weights and buffers as they were where a function is being inferred: what a call notes of no data is no news.

    >>> with untouched(nn.BatchNorm1d(2)):
    ...     pass
    """
    if not _now.inferring:
        yield
        return
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        with Unwritten(module):
            yield
    finally:
        for buffer, value in kept:
            buffer.copy_(value)


def infer(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None = None) -> Any:
    """Return the structure of `function(*args, **kwargs)` with a `Spec` for each tensor; arguments hold `Spec`s for tensors.

    Nothing is computed but where the shape depends on the data, no random number is drawn and no gradient recorded. `device` is
    where the function's weights are. Raises `InferenceError` with torch's own words where the function does not take such arguments.

    >>> infer(torch.matmul, (Spec.of((None, 3), torch.float32), Spec.of((3, 5), torch.float32)), {}).shape
    (None, 5)
    """
    with _alone(), torch.no_grad(), _untouched_random_state(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of means over nothing
        outer, _now.inferring = _now.inferring, True
        try:
            return _on_empty_batch(function, args, kwargs, device)
        except Exception as first:
            try:
                return _on_meta(function, args, kwargs)
            except Exception as second:
                cause = first if type(first) is type(second) else second  # which may be about the emptiness of the batch alone
                if any(words in str(second).lower() for words in _NO_DATA):
                    try:
                        return _on_data(function, args, kwargs, device)
                    except Exception as third:
                        cause = third
                raise InferenceError(str(cause) or type(cause).__name__) from cause
        finally:
            _now.inferring = outer


def _on_empty_batch(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> Any:
    specs = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Spec)]
    if any(spec.number for spec in specs):
        raise _Uncertain
    device = _device_of(args, kwargs, device)
    batch = next((spec.lead for spec in specs if spec.small), None)
    if any(spec.small and spec.lead != batch and spec.small[0] != spec.large[0] for spec in specs):
        raise _Uncertain  # of two sizes that are unknown only one can be 0, and the other would be made as large as it may be

    def run(which: str) -> Any:
        def tensor(spec: Spec) -> torch.Tensor:
            size = getattr(spec, which)
            return torch.zeros((0, *size[1:]) if size and spec.lead == batch else size, dtype=spec.dtype, device=device)

        real_args, real_kwargs = map_only(Spec, tensor, (args, kwargs))
        with _KeptBatch():
            return function(*real_args, **real_kwargs)

    small = run("small")
    same = all(spec.small[1:] == spec.large[1:] for spec in specs)
    large = small if same else run("large")

    if any(isinstance(leaf, int) for leaf in tree_leaves(small)):
        raise _Uncertain

    def size(tensor: torch.Tensor, run: int) -> Size:
        dims = tuple(tensor.shape)
        if not dims:
            return dims
        if batch is None:
            return dims
        if dims.count(0) != 1:
            raise _Uncertain
        return tuple(dim or batch[run] for dim in dims)

    return _pair(small, large, size)


def _device_of(args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> torch.device | None:
    """Where the tensors among the arguments are, if there are any."""
    return next((leaf.device for leaf in leaves_of((args, kwargs)) if isinstance(leaf, torch.Tensor)), device)


def _on_meta(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    def run(index: int) -> Any:
        def value(spec: Spec) -> Any:
            if spec.number:
                return spec.number[index]
            return torch.empty((spec.small, spec.large)[index], dtype=spec.dtype, device="meta")

        real_args, real_kwargs = map_only(Spec, value, (args, kwargs))
        with _StorageFreeArguments(), _StorageFree():
            return function(*real_args, **real_kwargs)

    return _pair(run(0), run(1), lambda tensor, index: tuple(tensor.shape))


def _on_data(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> Any:
    device = _device_of(args, kwargs, device)
    specs = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Spec)]
    pairs = {pair for spec in specs for pair in (*zip(spec.small, spec.large, strict=True), spec.number or (0, 0)) if pair[0] != pair[1]}
    known = {made_up.sizes(pair, _ON_DATA): pair for pair in pairs}

    def run(index: int, kind: str) -> Any:
        generator = torch.Generator().manual_seed(made_up.KINDS.index(kind) + len(made_up.KINDS) * index)

        def value(spec: Spec) -> Any:
            if spec.number:
                return made_up.sizes(spec.number, _ON_DATA)[index]
            size = tuple(made_up.sizes(pair, _ON_DATA)[index] for pair in zip(spec.small, spec.large, strict=True))
            return made_up.tensor(size, spec.dtype, device, kind, generator)

        real_args, real_kwargs = map_only(Spec, value, (args, kwargs))
        return tree_map_only(torch.Tensor, _to_meta, function(*real_args, **real_kwargs))

    with _untouched_accelerator():
        runs = [*_successes(partial(run, 0)), next(_successes(partial(run, 1)))]
    leaves, structure = tree_flatten(runs[0])

    def size_in(sizes: Sequence[int]) -> tuple[int, int]:
        """A size, of those in all runs but the last, which are the small ones, and in the last."""
        pair = sizes[0], sizes[-1]
        if 0 in pair or len(set(sizes[:-1])) > 1:
            return made_up.COUNTED
        return pair if pair[0] == pair[1] else known.get(pair, made_up.COUNTED)

    def spec(*found: Any) -> Any:
        if isinstance(found[0], torch.Tensor):
            pairs = [size_in(sizes) for sizes in zip(*(tuple(tensor.shape) for tensor in found), strict=True)]
            return Spec(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs), found[0].dtype)
        if isinstance(found[0], int) and not isinstance(found[0], bool) and len(set(found)) > 1:
            return Spec((), (), torch.int64, number=size_in(found))
        return found[0]

    return tree_unflatten([spec(*found) for found in zip(leaves, *map(tree_leaves, runs[1:]), strict=True)], structure)


def _successes(run: Callable[[str], Any]) -> Iterator[Any]:
    """Give what a function makes of the kinds of numbers that it takes, at least of one: the highest of none, say, is none."""
    failures = []
    for kind in made_up.KINDS:
        try:
            result = run(kind)
        except Exception as failure:
            failures.append(failure)
        else:
            yield result
    if len(failures) == len(made_up.KINDS):
        raise failures[0]


@contextmanager
def _untouched_accelerator() -> Iterator[None]:
    """Take back the random numbers that are drawn on GPUs, unless weights came of them."""
    before = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        if before and not _now.random_state_moved:
            torch.cuda.set_rng_state_all(before)


def _pair(small: Any, large: Any, size: Callable[[torch.Tensor, int], Size]) -> Any:
    """Merge the results of two runs, leaf by leaf, into specs."""
    leaves, structure = tree_flatten(small)
    others = tree_leaves(large)

    def spec(a: Any, b: Any) -> Any:
        if isinstance(a, torch.Tensor):
            return Spec(size(a, 0), size(b, 1), a.dtype)
        if isinstance(a, int) and not isinstance(a, bool) and a != b:
            return Spec((), (), torch.int64, number=(a, b))
        return a

    return tree_unflatten([spec(a, b) for a, b in zip(leaves, others, strict=True)], structure)


_RESHAPING = {"view", "reshape", "flatten", "unflatten", "ravel", "view_as", "reshape_as"}
_ALONG_AN_AXIS = {"cat", "concat", "concatenate", "split", "split_with_sizes", "chunk", "tensor_split"}
_MULTIPLYING = {"repeat", "tile", "repeat_interleave", "vstack", "row_stack", "hstack"}
_BATCH_MOVERS = {"__getitem__", *_RESHAPING, *_ALONG_AN_AXIS, *_MULTIPLYING}


_COUNTING = {"nonzero", "argwhere", "masked_select", "unique", "unique_consecutive"}


class _KeptBatch(TorchFunctionMode):
    """Stops an empty run where a function may have made the batch longer or shorter: 0 times 5 is 0 too, and would hide it.

    And where it counts something in the data, as there is none.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _COUNTING or name == "where" and len(args) == 1:
            raise _Uncertain
        if name in _BATCH_MOVERS and not _now.creating_weights and not _keeps_batch(name, _first(args[0]), _first(result), *args[1:2]):
            raise _Uncertain
        return result


def _keeps_batch(name: str, before: torch.Tensor, after: torch.Tensor, index: Any = None) -> bool:
    if 0 not in before.shape:
        return True
    per_sample = [prod(size for size in tensor.shape if size) for tensor in (before, after)]
    if name in _RESHAPING:
        return per_sample[0] == per_sample[1]
    if name in _ALONG_AN_AXIS:
        return per_sample[0] != per_sample[1]
    leading = (index[0] if index else None) if isinstance(index, tuple) else index
    return name == "__getitem__" and (leading is None or leading is Ellipsis or isinstance(leading, slice) and leading == slice(None))


def _first(tensors: Any) -> Any:
    return tensors if isinstance(tensors, torch.Tensor) else next(iter(tensors))


class _StorageFreeArguments(TorchFunctionMode):
    """Gives every torch function its weights and constants on the `meta` device, for those that compare devices themselves."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _now.creating_weights or getattr(func, "__name__", "") in ("__get__", "__set__"):
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(torch.Tensor, _to_meta, (args, kwargs))
        return func(*args, **kwargs)


def _to_meta(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_meta else tensor.to("meta")


class _StorageFree(TorchDispatchMode):
    """Runs every operation on the `meta` device: weights and constants are seen through their shapes only."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no: torch would import its compiler, a second and more, to keep it out of a mode that it never sees."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if _now.creating_weights:
            return func(*args, **kwargs)
        if kwargs.get("device") is not None:
            kwargs["device"] = torch.device("meta")
        args, kwargs = tree_map_only(torch.Tensor, _to_meta, (args, kwargs))
        return func(*args, **kwargs)
