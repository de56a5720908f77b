"""Fourier transforms. As in Keras, complex numbers come and go as pairs of tensors: the real parts, and the imaginary parts."""

from typing import Any

import torch

from torchkeras_fn.ops.conversion import as_floats


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
