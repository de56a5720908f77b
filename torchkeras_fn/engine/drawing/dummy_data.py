"""Small tensors of made-up numbers, on which functions run that no shape can be told of without data, such as `x[x > 0]`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from torchkeras_fn.engine.basics.nested import leaves_of, map_only
from torchkeras_fn.engine.drawing.inferring import now
from torchkeras_fn.engine.drawing.spec import BATCH, UNKNOWN, Spec, device_of
from torchkeras_fn.engine.drawing.storage_free import to_meta

Pair = tuple[int, int]

KINDS = ("mixed", "padded", "negative", "zeros")
"""What the numbers are like: of what a function counts in them there are more in one kind than in another, and in zeros mostly nothing."""
_MEANS = {"mixed": 0.0, "padded": 1.0, "negative": -1.0}
COUNTED = (630, 1470)
"""What stands, in a small and a large run without data, for a size that depends on the data."""
_ON_DATA = ((BATCH, (2, 3)), (UNKNOWN, (32, 64)), (COUNTED, (12, 20)))
"""What stands for each on data: small, but long enough for a function that takes the first ten, or the best twenty."""
_LEFT_OVER = 16.0
"""Where as much is left over, a size was made otherwise."""


def sizes(pair: Pair, bases: Sequence[tuple[Pair, Pair]]) -> Pair:
    """Return what stands for a dimension in a small and a large run on data; one that is the same in both is known, and stays.

    `bases` are unknown sizes, each as it is without data and on data. Others were made of one of them, by a factor and by what is
    left over, as behind a convolution, and are made likewise here; or else, as by a product of two, and are as long as the longest.

    >>> bases = [((240, 600), (2, 3)), ((480, 960), (32, 64))]
    >>> sizes((480, 960), bases), sizes((238, 478), bases), sizes((480 * 480, 960 * 960), bases), sizes((7, 7), bases)
    ((32, 64), (14, 30), (32, 64), (7, 7))
    """
    if pair[0] == pair[1]:
        return pair
    made = [(_LEFT_OVER, list(max(real for _, real in bases)))]
    for (small, large), real in bases:
        factor = (pair[1] - pair[0]) / (large - small)
        rest = pair[0] - factor * small
        made.append((abs(rest), [max(round(factor * size + rest), 1) for size in real]))
    first, second = min(made)[1]
    return first, second if second != first else first + 1


def tensor(size: tuple[int, ...], dtype: torch.dtype, device: torch.device | None, kind: str, generator: torch.Generator) -> torch.Tensor:
    """Return numbers of a kind: floats, or the integers 0 and 1, which are indices of whatever has any.

    What is padded has zeros for the latter half of the samples, and of the steps of each.

    >>> tensor((2, 4), torch.float32, None, "padded", torch.Generator().manual_seed(0)) != 0
    tensor([[ True,  True, False, False],
            [False, False, False, False]])
    """
    if kind == "zeros":
        return torch.zeros(size, dtype=dtype, device=device)
    if dtype.is_floating_point or dtype.is_complex:
        numbers = torch.randn(size, generator=generator, device="cpu") + _MEANS[kind]
    else:
        numbers = torch.randint(2, size, generator=generator, device="cpu")
    if kind == "padded":
        for axis in range(min(len(size), 2)):
            kept = (size[axis] + 1) // 2
            numbers.narrow(axis, kept, size[axis] - kept).zero_()
    return numbers.to(dtype=dtype, device=device)


def on_data(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], device: torch.device | None) -> Any:
    """Return a `Spec` for each tensor that the function gives for data of two sizes.

    >>> on_data(lambda x: x[x > 0], [Spec.of((None,), torch.float32)], {}, None).shape
    (None,)
    """
    device = device_of(args, kwargs, device)
    specs = [leaf for leaf in leaves_of((args, kwargs)) if isinstance(leaf, Spec)]
    pairs = {pair for spec in specs for pair in (*zip(spec.small, spec.large, strict=True), spec.number or (0, 0)) if pair[0] != pair[1]}
    known = {sizes(pair, _ON_DATA): pair for pair in pairs}

    def run(index: int, kind: str) -> Any:
        generator = torch.Generator().manual_seed(KINDS.index(kind) + len(KINDS) * index)

        def value(spec: Spec) -> Any:
            if spec.number:
                return sizes(spec.number, _ON_DATA)[index]
            size = tuple(sizes(pair, _ON_DATA)[index] for pair in zip(spec.small, spec.large, strict=True))
            return tensor(size, spec.dtype, device, kind, generator)

        real_args, real_kwargs = map_only(Spec, value, (args, kwargs))
        return tree_map_only(torch.Tensor, to_meta, function(*real_args, **real_kwargs))

    with _untouched_accelerator():
        runs = [*_successes(partial(run, 0)), next(_successes(partial(run, 1)))]
    leaves, structure = tree_flatten(runs[0])

    def size_in(sizes: Sequence[int]) -> tuple[int, int]:
        """A size, of those in all runs but the last, which are the small ones, and in the last."""
        pair = sizes[0], sizes[-1]
        if 0 in pair or len(set(sizes[:-1])) > 1:
            return COUNTED
        return pair if pair[0] == pair[1] else known.get(pair, COUNTED)

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
    for kind in KINDS:
        try:
            result = run(kind)
        except Exception as failure:
            failures.append(failure)
        else:
            yield result
    if len(failures) == len(KINDS):
        raise failures[0]


@contextmanager
def _untouched_accelerator() -> Iterator[None]:
    """Take back the random numbers that are drawn on GPUs, unless weights came of them."""
    before = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        if before and not now.random_state_moved:
            torch.cuda.set_rng_state_all(before)
