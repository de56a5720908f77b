"""Library-wide defaults: the float type, the fuzz factor, the image layout, and one seed for all random generators."""

import random
from numbers import Integral

import numpy as np
import torch

_floatx = torch.float32
_epsilon = 1e-7
_image_data_format = "channels_last"


def dtype(identifier: object) -> torch.dtype:
    """Return the `torch.dtype` that a name, a numpy type or a `torch.dtype` stands for; `None` means `floatx()`.

    Raises `ValueError` for a type that torch does not have.

    >>> dtype("int32"), dtype(np.float64), dtype(None)
    (torch.int32, torch.float64, torch.float32)
    """
    if identifier is None:
        return _floatx
    if isinstance(identifier, torch.dtype):
        return identifier
    name = identifier.removeprefix("torch.") if isinstance(identifier, str) else None
    if name is None:
        try:
            name = np.dtype(identifier).name  # type: ignore[call-overload]
        except TypeError:
            name = repr(identifier)
    found = getattr(torch, str(name), None)
    if not isinstance(found, torch.dtype):
        raise ValueError(f"{identifier!r} is not a dtype. Expected a name such as 'float32' or 'int64', or a torch.dtype.")
    return found


def backend() -> str:
    """Return the name of what does the work: `'torch'`, as programs of Keras 3 ask that have a way for each backend.

    >>> backend()
    'torch'
    """
    return "torch"


def floatx() -> str:
    """Return the name of the default float type, `'float32'` unless changed.

    >>> floatx()
    'float32'
    """
    return str(_floatx).removeprefix("torch.")


def set_floatx(value: object) -> None:
    """Set the default float type of inputs and weights: `'float16'`, `'bfloat16'`, `'float32'` or `'float64'`.

    Raises `ValueError` for anything that is not a float type.

    >>> set_floatx("float32")
    """
    global _floatx
    found = dtype(value)
    if not found.is_floating_point:
        raise ValueError(f"floatx must be a float type, got {value!r}.")
    _floatx = found


def epsilon() -> float:
    """Return the small constant that keeps divisions and logarithms finite.

    >>> epsilon()
    1e-07
    """
    return _epsilon


def set_epsilon(value: float) -> None:
    """Set the small constant that keeps divisions and logarithms finite.

    >>> set_epsilon(1e-7)
    """
    global _epsilon
    _epsilon = float(value)


def image_data_format() -> str:
    """Return `'channels_last'` (the default) or `'channels_first'`.

    >>> image_data_format()
    'channels_last'
    """
    return _image_data_format


def set_image_data_format(data_format: str) -> None:
    """Set the axis order that image layers assume. Raises `ValueError` for any other word.

    >>> set_image_data_format("channels_last")
    """
    global _image_data_format
    if data_format not in ("channels_last", "channels_first"):
        raise ValueError(f"The image data format is 'channels_last' or 'channels_first', got {data_format!r}.")
    _image_data_format = data_format


def set_random_seed(seed: int) -> None:
    """Seed Python's, numpy's and torch's random generators (all devices) with one whole number. Raises `TypeError` for anything else.

    >>> set_random_seed(7)
    """
    if not isinstance(seed, Integral):
        raise TypeError(f"The seed is a whole number, got {seed!r} of type {type(seed).__name__}.")
    seed = int(seed)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
