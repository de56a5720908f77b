"""Windows of signal processing: `x` weights that fall off towards both ends, the same from the front and from the back."""

from collections.abc import Callable

import torch

from torchkeras_fn import config
from torchkeras_fn.ops.conversion import default_device, entry


def _window(function: Callable[..., torch.Tensor], name: str) -> Callable[..., torch.Tensor]:
    def window(x: int) -> torch.Tensor:
        return function(int(x), periodic=False, dtype=config.dtype(None), device=default_device())

    return entry(window, name, __name__, f"Return the {name} window of `x` places.")


bartlett = _window(torch.bartlett_window, "bartlett")
blackman = _window(torch.blackman_window, "blackman")
hamming = _window(torch.hamming_window, "hamming")
hanning = _window(torch.hann_window, "hanning")


def kaiser(x: int, beta: float) -> torch.Tensor:
    """Return the Kaiser window of `x` places; the larger `beta`, the narrower.

    >>> kaiser(3, 0.0)
    tensor([1., 1., 1.])
    """
    return torch.kaiser_window(int(x), periodic=False, beta=float(beta), dtype=config.dtype(None), device=default_device())
