"""Shapes, joints and products of which Keras 2's names or arguments are others than those of `ops`."""

import string
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import ops
from torchkeras_fn.arguments import one_of
from torchkeras_fn.ops.conversion import as_tensor, sizes_of
from torchkeras_fn.ops.spatial import channels_back, channels_next, is_channels_last


def reshape(x: Any, shape: Any) -> Any:
    """Return the elements in another shape; one size may be -1.

    >>> reshape([1.0, 2.0, 3.0, 4.0], (2, -1)).shape
    torch.Size([2, 2])
    """
    return ops.reshape(x, shape)


def permute_dimensions(x: Any, pattern: Sequence[int]) -> Any:
    """Return `x` with its axes in another order.

    >>> permute_dimensions(torch.ones(2, 3, 4), (0, 2, 1)).shape
    torch.Size([2, 4, 3])
    """
    return ops.transpose(x, pattern)


def concatenate(tensors: Sequence[Any], axis: int = -1) -> Any:
    """Return tensors joined along an axis they have.

    >>> concatenate([[1.0], [2.0, 3.0]])
    tensor([1., 2., 3.])
    """
    return ops.concatenate(tensors, axis)


def batch_flatten(x: Any) -> Any:
    """Return each sample in one row.

    >>> batch_flatten(torch.ones(2, 3, 4)).shape
    torch.Size([2, 12])
    """
    return torch.flatten(as_tensor(x), 1)


def gather(reference: Any, indices: Any) -> Any:
    """Return the rows of `reference` at the indices.

    >>> gather([10.0, 20.0, 30.0], [2, 0])
    tensor([30., 10.])
    """
    return ops.take(reference, indices, axis=0)


def tile(x: Any, n: Any) -> Any:
    """Return `x` laid side by side: `n` times along each axis, or as often as `n` lists.

    >>> tile([[1.0, 2.0]], (2, 1))
    tensor([[1., 2.],
            [1., 2.]])
    """
    x = as_tensor(x)
    return ops.tile(x, (n,) * x.ndim if isinstance(n, int) else n)


def repeat(x: Any, n: Any) -> Any:
    """Return rows `(batch, features)` repeated `n` times each: `(batch, n, features)`.

    >>> repeat(torch.ones(2, 3), 4).shape
    torch.Size([2, 4, 3])
    """
    x = as_tensor(x)
    if x.ndim != 2:
        raise ValueError(f"K.repeat takes a matrix (batch, features), got a tensor of shape {tuple(x.shape)}. See K.repeat_elements.")
    return torch.unsqueeze(x, 1).repeat(1, *sizes_of(n), 1)


def repeat_elements(x: Any, rep: int, axis: int) -> Any:
    """Return `x` with every element along the axis repeated, as `np.repeat` does.

    >>> repeat_elements([1.0, 2.0], 2, axis=0)
    tensor([1., 1., 2., 2.])
    """
    return ops.repeat(x, rep, axis)


def reverse(x: Any, axes: int | Sequence[int]) -> Any:
    """Return `x` with the elements along the axes in reverse.

    >>> reverse([1.0, 2.0, 3.0], 0)
    tensor([3., 2., 1.])
    """
    return ops.flip(x, axes)


def slice(x: Any, start: Any, size: Any) -> Any:
    """Return the block of a size that begins at `start`; a size of -1 means up to the end.

    >>> slice([[1.0, 2.0], [3.0, 4.0]], (0, 1), (2, 1))
    tensor([[2.],
            [4.]])
    """
    return ops.slice(x, start, size)


def batch_dot(x: Any, y: Any, axes: Any = None) -> Any:
    """Return the sums of products over an axis of each of two tensors, sample by sample; at least a matrix.

    `axes` is a pair, or one for both; the last of `x` and the last but one of `y` (of a matrix the last) unless given.
    From four dimensions on, all but the last two count samples where both have as many of them, as in Keras 2.2 on TensorFlow;
    where the numbers differ, the first alone does. Raises `ValueError` for tensors without samples of vectors, and for the batch axis.

    >>> batch_dot(torch.ones(2, 3, 4), torch.ones(2, 4, 5)).shape
    torch.Size([2, 3, 5])
    >>> batch_dot(torch.ones(2, 8, 3, 4), torch.ones(2, 8, 5, 4), axes=(3, 3)).shape
    torch.Size([2, 8, 3, 5])
    """
    x, y = as_tensor(x), as_tensor(y)
    if x.ndim < 2 or y.ndim < 2:
        raise ValueError(f"batch_dot needs at least two dimensions, the batch included; got shapes {tuple(x.shape)} and {tuple(y.shape)}.")
    if axes is None:
        axes = (x.ndim - 1, y.ndim - 1 if y.ndim == 2 else y.ndim - 2)
    first, second = (axes, axes) if isinstance(axes, int) else axes
    first, second = first % x.ndim, second % y.ndim
    if not first or not second:
        raise ValueError(f"batch_dot cannot sum over the batch axis, got axes={axes}.")
    samples = max(x.ndim, y.ndim, 3) - 2
    if min(first, second) < samples or min(x.ndim, y.ndim) <= samples or tuple(x.shape[:samples]) != tuple(y.shape[:samples]):
        samples = 1
    letters = string.ascii_letters[1:]
    left, right = list(letters[: x.ndim]), list(letters[:samples] + letters[x.ndim : x.ndim + y.ndim - samples])
    left[first] = right[second] = "a"
    kept = [letter for letter in left + right[samples:] if letter != "a"]
    product = torch.einsum(f"{''.join(left)},{''.join(right)}->{''.join(kept)}", x, y)
    return product if len(kept) > 1 else torch.unsqueeze(product, -1)


# ---------------------------------------------------------------------- borders and sizes


def temporal_padding(x: Any, padding: Sequence[int] = (1, 1)) -> Any:
    """Return sequences `(batch, steps, features)` with steps of zeros before and after.

    >>> temporal_padding(torch.ones(2, 3, 4)).shape
    torch.Size([2, 5, 4])
    """
    return ops.pad(x, [(0, 0), tuple(padding), (0, 0)])


def spatial_2d_padding(x: Any, padding: Sequence[Sequence[int]] = ((1, 1), (1, 1)), data_format: str | None = None) -> Any:
    """Return images with rows and columns of zeros around.

    >>> spatial_2d_padding(torch.ones(1, 2, 2, 3)).shape
    torch.Size([1, 4, 4, 3])
    """
    return _padded(x, padding, data_format)


def spatial_3d_padding(x: Any, padding: Sequence[Sequence[int]] = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None) -> Any:
    """Return volumes with zeros around.

    >>> spatial_3d_padding(torch.ones(1, 2, 2, 2, 3)).shape
    torch.Size([1, 4, 4, 4, 3])
    """
    return _padded(x, padding, data_format)


def _padded(x: Any, padding: Sequence[Sequence[int]], data_format: str | None) -> Any:
    pairs = [tuple(pair) for pair in padding]
    return ops.pad(x, [(0, 0), *pairs, (0, 0)] if is_channels_last(data_format) else [(0, 0), (0, 0), *pairs])


def resize_images(x: Any, height_factor: int, width_factor: int, data_format: str, interpolation: str = "nearest") -> Any:
    """Return images enlarged by whole factors: pixels repeated, or with `'bilinear'` interpolated.

    >>> resize_images(torch.ones(1, 2, 2, 3), 2, 3, "channels_last").shape
    torch.Size([1, 4, 6, 3])
    """
    mode = one_of(interpolation, "interpolation", "nearest", "bilinear")
    options = {} if mode == "nearest" else {"align_corners": False}
    factors = (float(height_factor), float(width_factor))
    enlarged = F.interpolate(channels_next(as_tensor(x), data_format), scale_factor=factors, mode=mode, **options)
    return channels_back(enlarged, data_format)


def resize_volumes(x: Any, depth_factor: int, height_factor: int, width_factor: int, data_format: str) -> Any:
    """Return volumes enlarged by whole factors, the points repeated.

    >>> resize_volumes(torch.ones(1, 2, 2, 2, 3), 2, 2, 2, "channels_last").shape
    torch.Size([1, 4, 4, 4, 3])
    """
    factors = (float(depth_factor), float(height_factor), float(width_factor))
    return channels_back(F.interpolate(channels_next(as_tensor(x), data_format), scale_factor=factors, mode="nearest"), data_format)
