"""From a name, a config, an array, a function or an object to the initializer, and back."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn import config
from torchkeras_fn.initializers.base import sizes
from torchkeras_fn.initializers.drawn import Orthogonal, RandomNormal, RandomUniform, TruncatedNormal
from torchkeras_fn.initializers.fixed import Constant, Identity, Ones, Zeros
from torchkeras_fn.initializers.scaled import GlorotNormal, GlorotUniform, HeNormal, HeUniform, LecunNormal, LecunUniform, VarianceScaling
from torchkeras_fn.registry import Registry

_registry = Registry(
    "initializer",
    {
        "zeros": Zeros,
        "ones": Ones,
        "constant": Constant,
        "identity": Identity,
        "orthogonal": Orthogonal,
        "random_uniform": RandomUniform,
        "random_normal": RandomNormal,
        "truncated_normal": TruncatedNormal,
        "variance_scaling": VarianceScaling,
        "glorot_uniform": GlorotUniform,
        "glorot_normal": GlorotNormal,
        "he_uniform": HeUniform,
        "he_normal": HeNormal,
        "lecun_uniform": LecunUniform,
        "lecun_normal": LecunNormal,
    },
    aliases={
        "zero": "zeros",
        "one": "ones",
        "uniform": "random_uniform",
        "normal": "random_normal",
        "xavier_uniform": "glorot_uniform",
        "xavier_normal": "glorot_normal",
        "IdentityInitializer": "identity",
        "OrthogonalInitializer": "orthogonal",
    },
)
serialize = _registry.serialize
deserialize = _registry.deserialize


def get(identifier: Any) -> Any:
    """Return the initializer for a name, a config, a class, an array of values or a function; `None` for `None`.

    A function is called with the shape, and with `dtype` (a `torch.dtype`) if it takes one; what it returns is made
    a tensor of the right type. Raises `ValueError` with the nearest name for one that is not known.

    >>> get("he_normal")((2, 3)).shape
    torch.Size([2, 3])
    >>> get(lambda shape: np.full(shape, 3))((2,))
    tensor([3., 3.])
    """
    if isinstance(identifier, (torch.Tensor, np.ndarray)):
        return Constant(identifier)
    found = _registry.get(identifier)
    return found if found is None or hasattr(found, "get_config") else _from_function(found)


def _from_function(function: Callable[..., Any]) -> Callable[..., torch.Tensor]:
    try:
        inspect.signature(function).bind((), dtype=None)
        takes_dtype = True
    except TypeError:
        takes_dtype = False
    except ValueError:  # a function of torch or numpy, written in C, that does not tell its arguments
        takes_dtype = True

    @functools.wraps(function)
    def initializer(shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        wanted = config.dtype(dtype)
        values = torch.as_tensor(function(shape, dtype=wanted) if takes_dtype else function(shape), dtype=wanted)
        if values.shape != sizes(shape):
            name = getattr(function, "__name__", repr(function))
            raise ValueError(f"The initializer {name} returned the shape {tuple(values.shape)}; expected {sizes(shape)}.")
        return values

    return initializer
