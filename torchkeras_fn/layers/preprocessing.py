"""Layers that bring raw numbers to a scale on which models learn well."""

import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from torchkeras_fn import config
from torchkeras_fn.engine.basics.nested import leaves_of
from torchkeras_fn.engine.layer import Layer
from torchkeras_fn.engine.symbolic import describe_operation
from torchkeras_fn.layers.core import axes_of


class DataLayer(Layer):
    """The base of layers over data as they were read: called on numbers, they also take lists of them.

    >>> DataLayer.__call__(Rescaling(2.0), [1, 2])
    tensor([2., 4.])
    """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Make tensors of lists, and call the layer."""
        return super().forward(*map(_listed, args), **{name: _listed(value) for name, value in kwargs.items()})


def one_shape(shapes: Any) -> Any:
    """Return the shape of the only input of a layer. Raises `ValueError` for a list of several.

    >>> one_shape((None, 3))
    (None, 3)
    """
    if isinstance(shapes, list):
        raise ValueError("expected one input, got a list of them")
    return shapes


def _listed(value: Any) -> Any:
    is_of_numbers = isinstance(value, (list, tuple)) and all(isinstance(leaf, numbers.Number) for leaf in leaves_of(value))
    return np.asarray(value) if is_of_numbers else value


class Rescaling(DataLayer):
    """`inputs * scale + offset`: `Rescaling(1 / 255)` brings the bytes of an image to the range from 0 to 1.

    `scale` and `offset` are numbers, or one for each channel: of the last axis, or of the third from the end where
    `image_data_format()` is `'channels_first'`.

    >>> Rescaling(1 / 127.5, offset=-1.0)(torch.tensor([[0, 255]], dtype=torch.uint8))
    tensor([[-1.,  1.]])
    """

    needs_floats = True
    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = _numbers(scale, "scale")
        self.offset = _numbers(offset, "offset")

    def build(self, input_shape: Any) -> nn.Module:
        """Return the multiplication and addition."""
        input_shape = one_shape(input_shape)
        places = 2 if config.image_data_format() == "channels_first" else 0
        tensors = [torch.as_tensor(part, dtype=self.dtype) for part in (self.scale, self.offset)]
        scale, offset = (part[(..., *[None] * places)] if part.ndim == 1 else part for part in tensors)
        try:
            fits = torch.broadcast_shapes(scale.shape, offset.shape, [size or 1 for size in input_shape[1:]])
        except RuntimeError:
            fits = torch.Size()
        if len(fits) != len(input_shape) - 1 or any(size not in (None, fit) for size, fit in zip(input_shape[1:], fits, strict=True)):
            raise ValueError(f"'scale' and 'offset' must fit the channels, got shapes {tuple(scale.shape)} and {tuple(offset.shape)}")
        return Affine(scale, offset)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, arrays as lists."""
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}


class Affine(nn.Module):
    """Multiplies by constants and adds constants.

    >>> Affine(torch.tensor(2.0), torch.tensor(1.0))(torch.ones(2))
    tensor([3., 3.])
    """

    scale: torch.Tensor
    offset: torch.Tensor

    def __init__(self, scale: torch.Tensor, offset: torch.Tensor):
        super().__init__()
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Multiply and add."""
        return inputs * self.scale + self.offset


class Normalization(DataLayer):
    """Brings each feature along `axis` to mean 0 and deviation 1, by a `mean` and `variance` given or found by `adapt(data)`.

    `axis` is an axis, several, or `None` for a single mean of everything. `invert=True` goes the other way.
    Weights, where `mean` and `variance` are not given: `mean`, `variance`, each of the sizes of those axes, and
    `count`, a scalar that Keras keeps for its older files. Training changes none of them.

    >>> layer = Normalization()
    >>> layer.adapt(np.array([[1.0, 10.0], [3.0, 30.0]]))
    >>> layer(torch.tensor([[3.0, 10.0]]))
    tensor([[ 1., -1.]])
    """

    needs_floats = True
    supports_masking = True

    def __init__(self, axis: int | Sequence[int] | None = -1, mean: Any = None, variance: Any = None, invert: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis = () if axis is None or isinstance(axis, (list, tuple)) and not axis else axes_of(axis, "axis")
        if (mean is None) != (variance is None):
            raise ValueError(f"'mean' and 'variance' must be given together, got mean={mean!r} and variance={variance!r}.")
        self.given_mean = None if mean is None else _numbers(mean, "mean")
        self.given_variance = None if variance is None else _numbers(variance, "variance")
        if self.given_variance is not None and np.min(self.given_variance) < 0:
            raise ValueError(f"'variance' must not be negative, got {variance!r}.")
        self.invert = invert

    def build(self, input_shape: Any) -> nn.Module:
        """Return the module for the sizes of the axes."""
        rank = len(one_shape(input_shape))
        if not all(-rank <= axis < rank for axis in self.axis):
            raise ValueError(f"'axis' must be axes of the input, got {list(self.axis)}")
        kept = sorted({axis % rank for axis in self.axis})
        if any(input_shape[axis] is None for axis in kept):
            raise ValueError(f"the sizes along 'axis' {list(self.axis)} must be known; axis=None normalizes by a single mean")
        self._reduced = tuple(axis for axis in range(rank) if axis not in kept)
        sizes = [input_shape[axis] for axis in kept]
        mean, variance = (
            torch.as_tensor(0.0 if part is None else part, dtype=self.dtype) for part in (self.given_mean, self.given_variance)
        )
        try:
            mean, variance = mean.expand(sizes).clone(), variance.expand(sizes).clone()
        except RuntimeError as error:
            shapes = f"{tuple(mean.shape)} and {tuple(variance.shape)}"
            raise ValueError(f"'mean' and 'variance' must fit the sizes {tuple(sizes)} along 'axis', got shapes {shapes}") from error
        if self.given_mean is None:
            variance = torch.ones_like(variance)
        places = tuple(input_shape[axis] if axis in kept else 1 for axis in range(rank))
        return Standardize(mean, variance, places, self.invert, persistent=self.given_mean is None)

    def adapt(self, data: Any) -> None:
        """Set mean and variance from data: an array, a tensor, or an iterable of batches (of pairs, the first part counts).

        Raises `ValueError` where `mean` and `variance` were given, the data are empty, or their shape does not fit.
        """
        if self.given_mean is not None:
            raise ValueError(f"{describe_operation(self)} was given its mean and variance, so it does not adapt to data.")
        count, mean, moment = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
        for batch in batches_of(data):
            if not self.built:
                self._build((None, *batch.shape[1:]))
            module = self._standardize()
            features = [size for axis, size in enumerate(batch.shape) if axis not in self._reduced]
            if batch.ndim != len(module.places) or features != list(module.mean.shape):
                raise ValueError(
                    f"{describe_operation(self)} cannot adapt to data of shape {tuple(batch.shape)}: "
                    f"it normalizes features of shape {tuple(module.mean.shape)} in {len(module.places)} dimensions."
                )
            size = batch.numel() // max(1, module.mean.numel())
            if size == 0:
                continue
            variance, average = torch.var_mean(batch.to(torch.float64), dim=self._reduced, correction=0)
            count, step = count + size, average - mean
            mean = mean + step * (size / count)
            moment = moment + variance * size + step**2 * (size * (count - size) / count)
        if count == 0:
            raise ValueError(f"{describe_operation(self)} cannot adapt to no data at all.")
        with torch.no_grad():
            self._standardize().mean.copy_(mean)
            self._standardize().variance.copy_(moment / count)

    def _standardize(self) -> "Standardize":
        if not isinstance(self.module, Standardize):
            raise RuntimeError(f"{describe_operation(self)} is not built yet. Call it on an input, or adapt it to data.")
        return self.module

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, arrays as lists."""
        return {**super().get_config(), "mean": self.given_mean, "variance": self.given_variance}


class Standardize(nn.Module):
    """Takes a mean out and divides by a deviation, or the reverse; `places` are the sizes as which they meet the inputs.

    >>> Standardize(torch.tensor([1.0]), torch.tensor([4.0]), (1, 1))(torch.tensor([[5.0]]))
    tensor([[2.]])
    """

    mean: torch.Tensor
    variance: torch.Tensor

    def __init__(self, mean: torch.Tensor, variance: torch.Tensor, places: Sequence[int], invert: bool = False, persistent: bool = True):
        super().__init__()
        self.places = tuple(places)
        self.invert = invert
        self.register_buffer("mean", mean, persistent)
        self.register_buffer("variance", variance, persistent)
        if persistent:
            self.register_buffer("count", torch.zeros((), dtype=torch.int32))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalize."""
        mean, deviation = self.mean.view(self.places), self.variance.view(self.places).sqrt().clamp(min=config.epsilon())
        return mean + inputs * deviation if self.invert else (inputs - mean) / deviation


def _numbers(value: Any, argument: str) -> Any:
    """A number, or an array of them as nested lists. Raises `ValueError` that names the argument for anything else."""
    try:
        array = np.asarray(value.detach().cpu() if isinstance(value, torch.Tensor) else value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.array(np.nan)
    if isinstance(value, (bool, str)) or not array.size or not np.isfinite(array).all():
        raise ValueError(f"{argument!r} must be a finite number or an array of them, got {value!r}.")
    return array.tolist()


def batches_of(data: Any) -> Iterable[torch.Tensor]:
    """Return the data as tensors: all at once where they are an array, else batch by batch. Raises `TypeError` for what is no data.

    >>> [batch.shape for batch in batches_of([np.ones((2, 3)), (np.ones((1, 3)), np.ones(1))])]
    [torch.Size([2, 3]), torch.Size([1, 3])]
    """
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return [torch.as_tensor(data)]
    if not isinstance(data, Iterable):
        raise TypeError(f"Expected an array, a tensor or an iterable of batches to adapt to, got {type(data).__name__}.")
    return (torch.as_tensor(np.asarray(part) if not isinstance(part, torch.Tensor) else part) for part in map(_inputs_of, data))


def _inputs_of(batch: Any) -> Any:
    return batch[0] if isinstance(batch, tuple) else batch
