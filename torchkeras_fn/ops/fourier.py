"""Fourier transforms. As in Keras, complex numbers come and go as pairs of tensors: the real parts, and the imaginary parts."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn.arguments import one_of
from torchkeras_fn.ops.conversion import as_floats, as_tensor


def fft(x: Any) -> tuple[Any, Any]:
    """Return the discrete Fourier transform over the last axis, of real and imaginary parts.

    >>> fft(([1.0, 1.0], [0.0, 0.0]))[0]
    tensor([2., 0.])
    """
    return _parts(torch.fft.fft(_joined(x, 1)))


def fft2(x: Any) -> tuple[Any, Any]:
    """Return the discrete Fourier transform over the last two axes, of real and imaginary parts.

    >>> fft2((torch.ones(2, 2), torch.zeros(2, 2)))[0]
    tensor([[4., 0.],
            [0., 0.]])
    """
    return _parts(torch.fft.fft2(_joined(x, 2)))


def ifft2(x: Any) -> tuple[Any, Any]:
    """Return the inverse of `fft2`.

    >>> ifft2(fft2((torch.ones(2, 2), torch.zeros(2, 2))))[0]
    tensor([[1., 1.],
            [1., 1.]])
    """
    return _parts(torch.fft.ifft2(_joined(x, 2)))


def rfft(x: Any, fft_length: int | None = None) -> tuple[Any, Any]:
    """Return the half of the transform over the last axis that says it all for real `x`, cut or filled with 0 to `fft_length`.

    >>> rfft([1.0, 1.0, 1.0, 1.0])[0]
    tensor([4., 0., 0.])
    """
    return _parts(torch.fft.rfft(as_floats(x), n=fft_length))


def irfft(x: Any, fft_length: int | None = None) -> Any:
    """Return the inverse of `rfft`: a real tensor of `fft_length`, which is taken to be even where it is not given.

    >>> irfft(rfft([1.0, 2.0, 3.0]), fft_length=3)
    tensor([1., 2., 3.])
    """
    return torch.fft.irfft(_joined(x, 1), n=fft_length)


def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> Any:
    """Return the windows along the last axis, `sequence_stride` steps apart, in a new axis before it.

    >>> extract_sequences([1.0, 2.0, 3.0, 4.0], 2, 1)
    tensor([[1., 2.],
            [2., 3.],
            [3., 4.]])
    """
    return as_tensor(x).unfold(-1, sequence_length, sequence_stride)


def stft(x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True) -> tuple[Any, Any]:
    """Return the transforms of windows along the last axis, `(..., windows, fft_length // 2 + 1)`, of real `x`.

    `window` has `sequence_length` weights: `'hann'`, `'hamming'`, a tensor of them, or `None` for ones. With `center` the window of
    number `i` is around the step `i * sequence_stride`, and beyond the ends `x` is mirrored.

    >>> stft(torch.ones(8), 4, 2, 4)[0].shape
    torch.Size([5, 3])
    """
    x = as_floats(x)
    weights = _weights(window, sequence_length, fft_length, x)
    flat = torch.reshape(x, (-1, x.size(-1)))
    if center:
        flat = F.pad(flat, (fft_length // 2, fft_length // 2), mode="reflect")
    found = torch.fft.rfft(flat.unfold(-1, fft_length, sequence_stride) * weights)
    sizes = [x.size(axis) for axis in range(x.ndim - 1)]
    real, imaginary = (torch.reshape(part, (*sizes, part.size(-2), part.size(-1))) for part in _parts(found))
    return real, imaginary


def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> Any:
    """Return the inverse of `stft`, as long as the windows reach, or of `length`.

    >>> istft(stft(torch.ones(8), 4, 2, 4), 4, 2, 4)
    tensor([1., 1., 1., 1., 1., 1., 1., 1.])
    """
    frames = torch.fft.irfft(_joined(x, 2), n=fft_length)
    weights = _weights(window, sequence_length, fft_length, frames)
    count = frames.size(-2)
    total = fft_length + sequence_stride * (count - 1)
    columns = torch.transpose(torch.reshape(frames * weights, (-1, count, fft_length)), 1, 2)
    norm = torch.broadcast_to(torch.square(weights)[None, :, None], (1, fft_length, count))
    sums, norms = (F.fold(part, (1, total), (1, fft_length), stride=(1, sequence_stride))[:, 0, 0] for part in (columns, norm))
    found = sums / torch.where(norms > 1e-11, norms, 1.0)
    start = fft_length // 2 if center else 0
    end = total - start if length is None else min(start + length, total)
    found = found[:, start:end]
    if length is not None and end < start + length:
        found = F.pad(found, (0, start + length - end))
    return torch.reshape(found, (*(frames.size(axis) for axis in range(frames.ndim - 2)), found.size(-1)))


def _weights(window: Any, length: int, fft_length: int, x: Any) -> Any:
    """The weights of a window in the middle of so many places."""
    device = x.device if isinstance(x, torch.Tensor) else None
    if window is None or isinstance(window, str):
        kind = one_of(window or "ones", "window", *_WINDOWS)
        weights = _WINDOWS[kind](length, dtype=x.dtype, device=device)
    else:
        weights = as_tensor(window, x.dtype, like=x)
    if tuple(weights.shape) != (length,) or length > fft_length:
        raise ValueError(
            f"The window must have 'sequence_length' weights, at most 'fft_length' ({fft_length}), got {tuple(weights.shape)} of {length}."
        )
    front = (fft_length - length) // 2
    return F.pad(weights, (front, fft_length - length - front))


_WINDOWS: dict[str, Callable[..., torch.Tensor]] = {"hann": torch.hann_window, "hamming": torch.hamming_window, "ones": torch.ones}


def _joined(x: Any, ndim: int) -> Any:
    """The complex tensor of a pair of tensors. Raises `ValueError` for anything but two of one shape, with the axes that are needed."""
    if not isinstance(x, (tuple, list)) or len(x) != 2:
        raise ValueError(f"Expected a pair of tensors, the real and the imaginary parts, but x is of type {type(x).__name__}.")
    real, imaginary = map(as_floats, x)
    if tuple(real.shape) != tuple(imaginary.shape) or real.ndim < ndim:
        shapes = f"{tuple(real.shape)} and {tuple(imaginary.shape)}"
        raise ValueError(f"Expected two tensors of one shape with {ndim} axes or more, but the shapes are {shapes}.")
    return torch.complex(real, imaginary)


def _parts(x: Any) -> tuple[Any, Any]:
    return torch.real(x), torch.imag(x)
