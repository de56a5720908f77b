"""What drawing a model from a file may take: so much memory as its weights give reason for, and no endless work."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

_FREE_BYTES = 2**26
"""What may be made beside the weights: tables, masks, the values out of which an initializer makes others. 64 MiB."""
_TIMES_THE_WEIGHTS = 16
_FREE_CALLS = 50_000
_CALLS_PER_CONTAINER = 500
_MOST_PIECES = 100_000
_MOST_AXES = 64
_MOST_UNKNOWN = 10_000_000
_MOST_REMEMBERED = 10_000
_MOST_TURNS = {"diff": 1000, **dict.fromkeys(("tensor_split", "hsplit", "vsplit", "dsplit"), 10_000)}
"""Functions that do their work as often as their second argument says, in as many operations, and how often they may."""
_FREE_CALLS_INSIDE = 30_000
_CALLS_INSIDE_PER_CONTAINER = 10
_UNBOUNDED = ("aten::repeat_interleave.Tensor", "aten::bincount.default")
"""Operations whose output may be as large as a number inside a tensor says."""


@contextmanager
def bounded(weight_bytes: int, containers: int) -> Iterator[None]:
    """Stop torch inside the block before it makes tensors that weights of so many bytes give no reason for.

    `containers` is the number of lists and tables in the description that is drawn: it bounds the number of operations.

    >>> with bounded(0, 0):
    ...     torch.nn.Linear(10**6, 10**6)
    Traceback (most recent call last):
        ...
    ValueError: it asks for 4000000000000 bytes in one piece, but the weights in the file have 0.
    """
    random_state = torch.get_rng_state()  # the values that are drawn here are replaced by those of the file
    try:
        with _Turns(), _Bounds(weight_bytes, _FREE_CALLS + _CALLS_PER_CONTAINER * containers):
            yield
    finally:
        torch.set_rng_state(random_state)


class CallsInside:
    """Counts the calls of layers and functions in models inside of others: those that hold each other twice, and so on, have no end.

    `containers` is the number of lists and tables in the description: it bounds the number of calls.

    >>> CallsInside(0).of([(None, 1), (4, 2)])
    9
    """

    def __init__(self, containers: int):
        self._most = _FREE_CALLS_INSIDE + _CALLS_INSIDE_PER_CONTAINER * containers

    def of(self, called: Iterable[tuple[int | None, int]]) -> int:
        """Return how many calls these are: of each model the calls inside it, `None` for another layer, and how often it is called.

        Raises `ValueError` for more in models inside than a description of its size gives reason for.
        """
        listed = list(called)
        inside = sum(calls * times for calls, times in listed if calls is not None)
        if inside > self._most:
            raise ValueError(f"models inside of others make {inside} calls, more than {self._most}.")
        return inside + sum(times for calls, times in listed if calls is None)


class _Turns(TorchFunctionMode):
    """Refuses what would be stopped only after very many small operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", None)
        if name in _MOST_TURNS:
            turns = [value for value in (*args[1:2], *kwargs.values()) if isinstance(value, int) and value > _MOST_TURNS[name]]
            if turns:
                raise ValueError(f"it asks for {name} to be done {turns[0]} times over, more than {_MOST_TURNS[name]}.")
        return func(*args, **kwargs)


class _Bounds(TorchDispatchMode):
    """Asks of every operation what it would make, by running it on tensors without data, before it runs."""

    def __init__(self, weight_bytes: int, most_calls: int):
        super().__init__()
        self.weight_bytes = weight_bytes
        self.bytes_left = _FREE_BYTES + _TIMES_THE_WEIGHTS * weight_bytes
        self.calls_left = most_calls
        self._known: dict[Any, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Say no, lest torch import its compiler; see `inference`."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        self.calls_left -= 1
        if self.calls_left < 0:
            raise ValueError("it asks for more operations than a description of its size gives reason for.")
        _check_pieces(func, args)
        _check_axes(func, args)
        if not (func.is_view or (func._schema.is_mutable and "resize" not in func.__name__)):
            self._take(self._bytes_once(func, args, kwargs))
        return func(*args, **kwargs)

    def _take(self, size: int) -> None:
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise ValueError(f"it asks for {size} bytes in one piece, but the weights in the file have {self.weight_bytes}.")

    def _bytes_once(self, func: Any, args: Any, kwargs: Any) -> int:
        """What `_bytes` returns, which is asked once for equal shapes: models that hold others twice, and so on, draw the same for ever."""
        try:
            call = (func, _shape_of(args), _shape_of(kwargs))
            found = self._known.get(call)
        except TypeError:  # of an argument that has no hash
            return self._bytes(func, args, kwargs)
        if found is None:
            found = self._bytes(func, args, kwargs)
            if len(self._known) < _MOST_REMEMBERED:
                self._known[call] = found
        return found

    def _bytes(self, func: Any, args: Any, kwargs: Any) -> int:
        """How many bytes the outputs will take."""
        arguments = {argument.name for argument in func._schema.arguments}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if (tensors and all(tensor.is_meta for tensor in tensors)) or str(kwargs.get("device")) == "meta":
            return 0
        args, kwargs = tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
        kwargs = {name: value for name, value in kwargs.items() if name not in ("pin_memory", "generator")}
        if "device" in arguments:
            kwargs["device"] = "meta"
        try:
            made = func(*args, **kwargs)
        except Exception as error:
            numbers = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, int)]
            if f"{func._schema.name}.{func._overloadname}" in _UNBOUNDED or any(abs(number) > _MOST_UNKNOWN for number in numbers):
                raise ValueError(f"what {func} would make cannot be told: {error}") from error
            return 0  # its values decide, as for a number read out of a tensor; the real call says what is wrong, if it is
        return sum(leaf.numel() * leaf.element_size() for leaf in tree_leaves(made) if isinstance(leaf, torch.Tensor))


def _shape_of(value: Any) -> Any:
    """What an argument says of the sizes of the outputs, as a key."""
    if isinstance(value, torch.Tensor):
        return value.shape, value.dtype, value.device, value.layout, value.stride() if value.layout is torch.strided else None
    if isinstance(value, (list, tuple)):
        return tuple(_shape_of(part) for part in value)
    if isinstance(value, dict):
        return tuple((name, _shape_of(part)) for name, part in value.items())
    return type(value), value


def _check_axes(func: Any, args: Any) -> None:
    """Refuse shapes of more axes than a tensor can have: torch counts them again and again before it says so."""
    for sizes in args:
        if isinstance(sizes, (list, tuple)) and len(sizes) > _MOST_AXES and isinstance(sizes[0], int) and "split" not in func.__name__:
            raise ValueError(f"{func} is given {len(sizes)} axes, more than {_MOST_AXES}.")


def _check_pieces(func: Any, args: Any) -> None:
    """Refuse to cut a tensor into very many."""
    name = func._schema.name.rpartition("::")[2]
    if name not in ("unbind", "unbind_copy", "split", "split_copy", "unsafe_split", "chunk", "unsafe_chunk") or not args:
        return
    size = 1 if name.startswith("unbind") else args[1]
    axis = args[(1 if name.startswith("unbind") else 2) :][:1] or (0,)
    count = args[0].shape[axis[0]] if args[0].ndim else 0
    pieces = size if name.endswith("chunk") else count // max(size, 1) if isinstance(size, int) else len(size)
    if pieces > _MOST_PIECES:
        raise ValueError(f"it cuts a tensor into {pieces} pieces, more than {_MOST_PIECES}.")
