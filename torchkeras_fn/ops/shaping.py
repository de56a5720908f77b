"""Shapes: the same elements in another order, joined, repeated, or cut apart. Sizes may be symbolic."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.engine.symbolic import KerasTensor
from torchkeras_fn.ops.conversion import Sizes, as_tensor, axes_of, is_tensor, sizes_of


def shape(x: Any) -> Any:
    """Return the sizes as a tuple. Those of a symbolic tensor that are unknown are symbolic, and may stand wherever sizes do.

    >>> shape([[1.0, 2.0]])
    torch.Size([1, 2])
    """
    return Sizes.of(x) if isinstance(x, KerasTensor) else as_tensor(x).shape


def ndim(x: Any) -> int:
    """Return the number of axes.

    >>> ndim([[1.0, 2.0]])
    2
    """
    return int(as_tensor(x).ndim)


def size(x: Any) -> Any:
    """Return the number of elements; symbolic where it is unknown.

    >>> size([[1.0, 2.0]])
    2
    """
    count: Any = 1
    for one in shape(x):
        count = count * one
    return count


def reshape(x: Any, newshape: Any) -> Any:
    """Return the elements in another shape; one size may be -1.

    >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return torch.reshape(as_tensor(x), sizes_of(newshape))


def transpose(x: Any, axes: Sequence[int] | None = None) -> Any:
    """Return `x` with its axes in another order, the reverse unless given.

    >>> transpose(torch.ones(2, 3, 4)).shape
    torch.Size([4, 3, 2])
    """
    x = as_tensor(x)
    return torch.permute(x, tuple(axes) if axes is not None else tuple(reversed(range(x.ndim))))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Return `x` with two axes exchanged.

    >>> swapaxes(torch.ones(2, 3, 4), 0, 2).shape
    torch.Size([4, 3, 2])
    """
    return torch.swapaxes(as_tensor(x), axis1, axis2)


def moveaxis(x: Any, source: Any, destination: Any) -> Any:
    """Return `x` with axes moved to other places, the rest in order.

    >>> moveaxis(torch.ones(2, 3, 4), -1, 0).shape
    torch.Size([4, 2, 3])
    """
    return torch.movedim(as_tensor(x), axes_of(source), axes_of(destination))


def expand_dims(x: Any, axis: int | Sequence[int] = -1) -> Any:
    """Return `x` with new axes of size 1, where they stand in the result.

    >>> expand_dims(torch.ones(2, 3), (0, -1)).shape
    torch.Size([1, 2, 3, 1])
    """
    x = as_tensor(x)
    axis = axes_of(axis)
    axes = [axis] if isinstance(axis, int) else axis
    rank = x.ndim + len(axes)
    for one in sorted(each % rank for each in axes):
        x = torch.unsqueeze(x, one)
    return x


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Return `x` without axes of size 1: those given, or all. Raises `ValueError` for one that is of another size.

    >>> squeeze(torch.ones(2, 1, 1), axis=1).shape
    torch.Size([2, 1])
    """
    x = as_tensor(x)
    if axis is None:
        axis = [each for each, length in enumerate(x.shape) if length == 1]
    axes = axes_of([axis] if isinstance(axis, int) else axis)
    axes = axes if isinstance(axes, tuple) else (axes,)
    if any(x.shape[one] not in (1, None) for one in axes):
        raise ValueError(f"Only axes of size 1 can be taken out, got axis={axis} of a tensor of shape {tuple(x.shape)}.")
    return torch.squeeze(x, axes) if axes else x


def ravel(x: Any) -> Any:
    """Return all elements in one row.

    >>> ravel([[1.0, 2.0], [3.0, 4.0]])
    tensor([1., 2., 3., 4.])
    """
    return torch.flatten(as_tensor(x))


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    """Return `x` with the elements along the axes in reverse; along all without `axis`.

    >>> flip([1.0, 2.0, 3.0])
    tensor([3., 2., 1.])
    """
    x = as_tensor(x)
    axes = axes_of(range(x.ndim) if axis is None else axis)
    return torch.flip(x, (axes,) if isinstance(axes, int) else axes)


def fliplr(x: Any) -> Any:
    """Return `x` with the elements along the second axis in reverse.

    >>> fliplr([[1.0, 2.0]])
    tensor([[2., 1.]])
    """
    return flip(x, 1)


def flipud(x: Any) -> Any:
    """Return `x` with the elements along the first axis in reverse.

    >>> flipud([1.0, 2.0])
    tensor([2., 1.])
    """
    return flip(x, 0)


def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[Any, ...]:
    """Return the indices along each axis of a shape that indices in the flat tensor stand for.

    >>> unravel_index([5, 1], (2, 3))
    (tensor([1, 0]), tensor([2, 1]))
    """
    return tuple(torch.unravel_index(as_tensor(indices), tuple(shape)))


def diff(a: Any, n: int = 1, axis: int = -1) -> Any:
    """Return the differences of neighbours along an axis, taken `n` times.

    >>> diff([1.0, 4.0, 9.0])
    tensor([3., 5.])
    """
    return torch.diff(as_tensor(a), n, axis)


def roll(x: Any, shift: Any, axis: Any = None) -> Any:
    """Return `x` with the elements moved along; those pushed out at the end come in at the front.

    >>> roll([1.0, 2.0, 3.0], 1)
    tensor([3., 1., 2.])
    """
    return torch.roll(as_tensor(x), axes_of(shift), axes_of(axis))


def rot90(array: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Any:
    """Return the array turned `k` times by 90 degrees, from the first axis towards the second.

    >>> rot90([[1.0, 2.0]])
    tensor([[2.],
            [1.]])
    """
    return torch.rot90(as_tensor(array), k, tuple(axes))


def broadcast_to(x: Any, shape: Any) -> Any:
    """Return `x` repeated, without copies, along axes of size 1 until it has the shape.

    >>> broadcast_to([1.0, 2.0], (2, 2))
    tensor([[1., 2.],
            [1., 2.]])
    """
    return torch.broadcast_to(as_tensor(x), sizes_of(shape))


def tile(x: Any, repeats: Any) -> Any:
    """Return `x` laid side by side, that many times along each axis.

    >>> tile([[1.0, 2.0]], (2, 2))
    tensor([[1., 2., 1., 2.],
            [1., 2., 1., 2.]])
    """
    return torch.tile(as_tensor(x), sizes_of(repeats))


def repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    """Return `x` with every element along the axis repeated, each as often as the others or as `repeats` lists.

    >>> repeat([1.0, 2.0], 2)
    tensor([1., 1., 2., 2.])
    """
    x = as_tensor(x)
    x, axis = (torch.flatten(x), 0) if axis is None else (x, axis)
    if isinstance(repeats, int) or is_tensor(repeats):
        return torch.repeat_interleave(x, repeats, axis)
    counts = torch.as_tensor(repeats, device=x.device if isinstance(x, torch.Tensor) else None)
    return torch.repeat_interleave(x, counts, axis, output_size=int(sum(repeats)) if counts.ndim else None)


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """Return `x` with elements added at the ends: `pad_width` is one number, one pair, or a pair for each axis.

    `mode` is `'constant'` (`constant_values`, 0 unless given), `'reflect'`, `'symmetric'` or `'edge'`. Raises `ValueError`
    for another one.

    >>> pad([1.0, 2.0], (1, 2))
    tensor([0., 1., 2., 0., 0.])
    """
    x = as_tensor(x)
    pairs = _pairs(pad_width, x.ndim)
    if mode == "constant":
        return F.pad(x, [amount for pair in reversed(pairs) for amount in pair], value=constant_values)
    if mode not in ("reflect", "symmetric", "edge"):
        raise ValueError(f"'mode' must be 'constant', 'reflect', 'symmetric' or 'edge', got {mode!r}.")
    for axis, (before, after) in enumerate(pairs):
        length = x.shape[axis] if x.shape[axis] is not None else x.size(axis)
        parts = [_mirror(x, axis, before, mode, True, length), x, _mirror(x, axis, after, mode, False, length)]
        x = torch.cat(parts, axis) if before or after else x
    return x


def _pairs(widths: Any, rank: int) -> list[tuple[Any, Any]]:
    if not isinstance(widths, (list, tuple)):
        return [(widths, widths)] * rank
    if widths and all(isinstance(width, (list, tuple)) for width in widths):
        pairs = [(width[0], width[-1]) for width in widths]
        return pairs * rank if len(pairs) == 1 else pairs
    return [(widths[0], widths[-1])] * rank


def _mirror(x: Any, axis: int, count: int, mode: str, at_front: bool, length: Any) -> Any:
    """What is put before or after the elements along an axis."""
    if mode == "edge":
        end = torch.narrow(x, axis, 0 if at_front else length - 1, 1)
        return torch.repeat_interleave(end, count, axis)
    skipped = int(mode == "reflect")
    return torch.flip(torch.narrow(x, axis, skipped if at_front else length - count - skipped, count), (axis,))


# ---------------------------------------------------------------------- several


def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Return tensors joined along an axis they have.

    >>> concatenate([[1.0], [2.0, 3.0]])
    tensor([1., 2., 3.])
    """
    return torch.cat(_alike(xs), axis)


def stack(x: Sequence[Any], axis: int = 0) -> Any:
    """Return tensors of one shape joined along a new axis.

    >>> stack([[1.0, 2.0], [3.0, 4.0]], axis=1)
    tensor([[1., 3.],
            [2., 4.]])
    """
    return torch.stack(_alike(x), axis)


def _alike(xs: Any) -> list[Any]:
    like = next((x for x in xs if is_tensor(x)), None)
    return [as_tensor(x, like=like) for x in xs]


def hstack(xs: Sequence[Any]) -> Any:
    """Return tensors joined along the second axis; rows along the only one.

    >>> hstack([[1.0], [2.0]])
    tensor([1., 2.])
    """
    return torch.hstack(_alike(xs))


def vstack(xs: Sequence[Any]) -> Any:
    """Return tensors, rows made matrices first, joined along the first axis.

    >>> vstack([[1.0], [2.0]])
    tensor([[1.],
            [2.]])
    """
    return torch.vstack(_alike(xs))


def dstack(xs: Sequence[Any]) -> Any:
    """Return tensors, rows and matrices made three-dimensional first, joined along the third axis.

    >>> dstack([[1.0], [2.0]])
    tensor([[[1., 2.]]])
    """
    return torch.dstack(_alike(xs))


def append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    """Return one tensor after another; flat without an `axis`.

    >>> append([1.0], [2.0, 3.0])
    tensor([1., 2., 3.])
    """
    return concatenate([ravel(x1), ravel(x2)] if axis is None else [x1, x2], axis or 0)


def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Return `x` cut along an axis, in so many equal parts or before the given indices.

    >>> split([1.0, 2.0, 3.0, 4.0], 2)
    [tensor([1., 2.]), tensor([3., 4.])]
    """
    x = as_tensor(x)
    cuts = indices_or_sections if isinstance(indices_or_sections, int) else [int(index) for index in indices_or_sections]
    if isinstance(cuts, int) and x.shape[axis] is not None and x.shape[axis] % cuts:
        raise ValueError(f"An axis of size {x.shape[axis]} cannot be split in {cuts} equal parts.")
    return list(torch.tensor_split(x, cuts, axis))


def hsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Return `x` cut along the second axis, or the only one, as `split` does.

    >>> hsplit([1.0, 2.0], 2)
    [tensor([1.]), tensor([2.])]
    """
    x = as_tensor(x)
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


def vsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Return `x` cut along the first axis as `split` does.

    >>> vsplit([[1.0], [2.0]], 2)
    [tensor([[1.]]), tensor([[2.]])]
    """
    return split(x, indices_or_sections, 0)


def dsplit(x: Any, indices_or_sections: Any) -> list[Any]:
    """Return `x` cut along the third axis as `split` does.

    >>> dsplit([[[1.0, 2.0]]], 2)
    [tensor([[[1.]]]), tensor([[[2.]]])]
    """
    return split(x, indices_or_sections, 2)


def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Any]:
    """Return `x` cut along an axis as `split` does, in parts of which the first may be one longer.

    >>> array_split([1.0, 2.0, 3.0], 2)
    [tensor([1., 2.]), tensor([3.])]
    """
    return list(torch.tensor_split(as_tensor(x), indices_or_sections, axis))


def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Any]:
    """Return the parts of `x` along an axis, which they lack: `num` of them where its size is unknown. Raises `ValueError` without.

    >>> unstack([[1.0, 2.0], [3.0, 4.0]])
    [tensor([1., 2.]), tensor([3., 4.])]
    """
    x = as_tensor(x)
    if x.shape[axis] is not None:
        return list(torch.unbind(x, axis))
    if num is None:
        raise ValueError(f"The size along axis {axis} of shape {tuple(x.shape)} is unknown: say in 'num' how many parts there are.")
    return [x.select(axis, index) for index in range(num)]


def meshgrid(*x: Any, indexing: str = "xy") -> list[Any]:
    """Return the coordinates of all points of a grid, from those along each axis.

    >>> meshgrid([1.0, 2.0], [3.0])
    [tensor([[1., 2.]]), tensor([[3., 3.]])]
    """
    return list(torch.meshgrid(*_alike(x), indexing=indexing))
