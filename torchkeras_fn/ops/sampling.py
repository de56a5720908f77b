"""Tensors read between their places, and images moved about by it."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

from torchkeras_fn.arguments import one_of
from torchkeras_fn.ops.conversion import as_floats, as_tensor
from torchkeras_fn.ops.creation import arange
from torchkeras_fn.ops.spatial import is_channels_last

_ORDERS = {"nearest": 0, "bilinear": 1}


def _mirrored(places: Any, size: Any) -> Any:
    return size - 1 - torch.abs(size - 1 - torch.remainder(places, max(2 * size - 2, 1)))


def _reflected(places: Any, size: Any) -> Any:
    places = torch.remainder(places, 2 * size)
    return torch.minimum(places, 2 * size - 1 - places)


_FILLS: dict[str, Callable[[Any, Any], Any]] = {
    "constant": lambda places, size: torch.clamp(places, 0, size - 1),
    "nearest": lambda places, size: torch.clamp(places, 0, size - 1),
    "wrap": torch.remainder,
    "mirror": _mirrored,
    "reflect": _reflected,
}
"""Where a tensor is read instead of a place that is beyond its borders."""


def map_coordinates(inputs: Any, coordinates: Any, order: int, fill_mode: str = "constant", fill_value: float = 0) -> Any:
    """Return what stands in `inputs` at coordinates `(axes, ...)`: the nearest element (`order=0`), or what is between the elements (1).

    Beyond the borders there is `fill_value`, or with `fill_mode` `'nearest'` the border, `'wrap'` the other side, `'mirror'` and
    `'reflect'` what is inside seen in a mirror: on the last element, or behind it.

    >>> map_coordinates([10.0, 20.0], [[0.5, 1.0]], order=1)
    tensor([15., 20.])
    """
    inputs = as_tensor(inputs)
    axes = torch.unbind(as_floats(as_tensor(coordinates, like=inputs)), 0)
    if len(axes) != inputs.ndim:
        raise ValueError(f"The first axis of 'coordinates' must have one entry for each axis of inputs, {inputs.ndim}; got {len(axes)}.")
    return _read(inputs, (), axes, order, fill_mode, fill_value)


def _read(x: Any, leading: Sequence[Any], axes: Sequence[Any], order: int, fill_mode: str, fill_value: float) -> Any:
    """What stands at the coordinates of some axes, which follow those that `leading` has indices of; further axes are read whole."""
    if order not in (0, 1):
        raise ValueError(f"'order' must be 0, for the nearest element, or 1, for what is between them; got {order!r}.")
    inside = _FILLS[one_of(fill_mode, "fill_mode", *_FILLS)]
    rank = x.ndim - len(leading) - len(axes)
    choices = []
    for axis, places in enumerate(axes, start=len(leading)):
        size = x.shape[axis] if x.shape[axis] is not None else x.size(axis)
        lower = torch.floor(places) if order else torch.round(places)
        neighbours = [(lower, 1 - (places - lower)), (lower + 1, places - lower)] if order else [(lower, None)]
        choices.append([(inside(place.to(torch.int64), size), (place >= 0) & (place <= size - 1), share) for place, share in neighbours])
    total: Any = 0
    for corner in itertools.product(*choices):
        found = x[(*leading, *(place for place, _, _ in corner))]
        for _, is_inside, _ in corner:
            if fill_mode == "constant":
                found = torch.where(_widened(is_inside, rank), found, fill_value)
        for _, _, share in corner:
            found = found if share is None else found * _widened(share, rank)
        total = total + found
    return total if x.dtype.is_floating_point or not order else torch.round(total).to(x.dtype)


def _widened(x: Any, rank: int) -> Any:
    return x[(..., *[None] * rank)]


def affine_transform(
    images: Any,
    transform: Any,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Any:
    """Return images that have at `(x, y)` what the given ones have at `(a0 x + a1 y + a2, b0 x + b1 y + b2)`, each over `c0 x + c1 y + 1`.

    `transform` is `(a0, a1, a2, b0, b1, b2, c0, c1)`, or a row of these for each image.

    >>> affine_transform(torch.arange(3.0).reshape(1, 3, 1), [1, 0, 1, 0, 1, 0, 0, 0]).flatten()
    tensor([1., 2., 0.])
    """
    images = as_tensor(images)
    order = _ORDERS[one_of(interpolation, "interpolation", *_ORDERS)]
    x = images if images.ndim == 4 else images[None]
    x = x if is_channels_last(data_format) else torch.permute(x, (0, 2, 3, 1))
    numbers = as_floats(as_tensor(transform, like=x))
    if numbers.shape[-1] != 8 or numbers.ndim > 2:
        raise ValueError(f"'transform' must be of 8 numbers, or of rows of 8 for each image, got the shape {tuple(numbers.shape)}.")
    a0, a1, a2, b0, b1, b2, c0, c1 = (part[..., None, None] for part in torch.unbind(numbers, -1))
    batch, height, width = (x.shape[axis] if x.shape[axis] is not None else x.size(axis) for axis in range(3))
    rows = as_tensor(arange(height, dtype="float32"), numbers.dtype)[:, None]
    columns = as_tensor(arange(width, dtype="float32"), numbers.dtype)
    divisor = c0 * columns + c1 * rows + 1
    sampled = _read(
        x,
        [arange(batch, dtype="int64")[:, None, None]],
        [(b0 * columns + b1 * rows + b2) / divisor, (a0 * columns + a1 * rows + a2) / divisor],
        order,
        fill_mode,
        fill_value,
    )
    sampled = sampled if is_channels_last(data_format) else torch.permute(sampled, (0, 3, 1, 2))
    return sampled if images.ndim == 4 else sampled[0]


def perspective_transform(
    images: Any, start_points: Any, end_points: Any, interpolation: str = "bilinear", fill_value: float = 0, data_format: str | None = None
) -> Any:
    """Return images drawn so that four points `(4, 2)`, or of each image `(batch, 4, 2)`, each as `(x, y)`, come from others.

    What stands at the `start_points` is found at the `end_points`.

    >>> corners = [[0.0, 0.0], [0.0, 2.0], [2.0, 0.0], [2.0, 2.0]]
    >>> perspective_transform(torch.ones(1, 3, 3, 1), corners, corners).shape
    torch.Size([1, 3, 3, 1])
    """
    images = as_tensor(images)
    starts, ends = (as_floats(as_tensor(points, like=images)) for points in (start_points, end_points))
    if starts.shape[-2:] != (4, 2) or ends.shape[-2:] != (4, 2):
        raise ValueError(f"Points must be of shape (4, 2), or (batch, 4, 2); got {tuple(starts.shape)} and {tuple(ends.shape)}.")
    (x, y), (u, v) = torch.unbind(ends, -1), torch.unbind(starts, -1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    equations = [
        torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
        torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1),
    ]
    transform = torch.linalg.solve(torch.cat(equations, -2), torch.cat([u, v], -1))
    return affine_transform(images, transform, interpolation, "constant", fill_value, data_format)
