"""Keras 3's `random`: numbers drawn from distributions, in shapes that may hold symbolic sizes.

In a drawn graph, wherever the shape is that of a symbolic tensor, numbers are drawn anew in every run. `seed` is an
integer (the same numbers at every call), a `SeedGenerator` (others at every call, the same in every program), or `None`
(torch's generator, which `utils.set_random_seed` seeds).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from torchkeras_fn import config
from torchkeras_fn.engine.symbolic import KerasTensor
from torchkeras_fn.ops.conversion import as_floats, as_tensor, empty_tensor, sizes_of
from torchkeras_fn.random_seeds import Seed, SeedGenerator


def generator_for(tensor: Any, seed: Seed) -> torch.Generator | None:
    """Return the generator that fills a tensor. Raises `ValueError` for a seed where the tensor is symbolic.

    >>> generator_for(torch.ones(2), None) is None
    True
    """
    source = seed if isinstance(seed, SeedGenerator) else SeedGenerator(seed)
    if source.seed is None:
        return None
    if isinstance(tensor, KerasTensor):
        raise ValueError(
            f"A drawn graph keeps no seed, got {source.seed}. Draw the numbers in a Lambda layer or the call of a layer, "
            "or seed all generators with utils.set_random_seed."
        )
    return None if tensor.is_meta else source.on(tensor.device)


def normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Seed = None) -> Any:
    """Return normally distributed numbers.

    >>> normal((2, 3)).shape
    torch.Size([2, 3])
    """
    tensor = empty_tensor(shape, dtype)
    if isinstance(mean, (int, float)) and isinstance(stddev, (int, float)):
        return tensor.normal_(mean, stddev, generator=generator_for(tensor, seed))
    return tensor.normal_(generator=generator_for(tensor, seed)) * _beside(tensor, stddev) + _beside(tensor, mean)


def truncated_normal(shape: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = None, seed: Seed = None) -> Any:
    """Return normally distributed numbers, none further than two `stddev` from the mean.

    >>> bool(truncated_normal((100,)).abs().max() <= 2)
    True
    """
    tensor = empty_tensor(shape, dtype)
    limit = math.erf(math.sqrt(2.0))
    even = tensor.uniform_(-limit, limit, generator=generator_for(tensor, seed))
    return torch.clamp(torch.erfinv(even) * math.sqrt(2.0), -2, 2) * _beside(tensor, stddev) + _beside(tensor, mean)


def uniform(shape: Any, minval: Any = 0.0, maxval: Any = 1.0, dtype: Any = None, seed: Seed = None) -> Any:
    """Return evenly distributed numbers from `minval` to below `maxval`; whole ones for an integer `dtype`.

    >>> bool(uniform((100,), 2.0, 3.0).min() >= 2)
    True
    """
    if not config.dtype(dtype).is_floating_point:
        return randint(shape, minval, maxval, dtype, seed)
    tensor = empty_tensor(shape, dtype)
    if isinstance(minval, (int, float)) and isinstance(maxval, (int, float)):
        return tensor.uniform_(minval, maxval, generator=generator_for(tensor, seed))
    minval, maxval = _beside(tensor, minval), _beside(tensor, maxval)
    return tensor.uniform_(generator=generator_for(tensor, seed)) * (maxval - minval) + minval


def _beside(tensor: Any, x: Any) -> Any:
    """A number as it is, and numbers of the elements as a tensor of the dtype that was asked for."""
    return x if isinstance(x, (int, float)) else as_tensor(x, tensor.dtype, like=tensor)


def randint(shape: Any, minval: Any, maxval: Any, dtype: Any = "int32", seed: Seed = None) -> Any:
    """Return whole numbers from `minval` to below `maxval`, all equally likely.

    >>> bool(randint((100,), 0, 5).max() < 5)
    True
    """
    tensor = empty_tensor(shape, dtype)
    return tensor.random_(int(minval), int(maxval), generator=generator_for(tensor, seed))


def bernoulli(shape: Any, p: Any = 0.5, dtype: Any = None, seed: Seed = None) -> Any:
    """Return ones with probability `p`, and zeros.

    >>> bernoulli((3,), p=1.0)
    tensor([1., 1., 1.])
    """
    tensor = empty_tensor(shape, dtype)
    return tensor.bernoulli_(_beside(tensor, p), generator=generator_for(tensor, seed))


def binomial(shape: Any, counts: Any, probabilities: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """Return how many of `counts` trials succeed, each with its probability.

    >>> binomial((2,), 5.0, 1.0)
    tensor([5., 5.])
    """
    counts, probabilities = (torch.broadcast_to(as_floats(part), sizes_of(shape)).contiguous() for part in (counts, probabilities))
    return torch.binomial(counts, probabilities, generator=generator_for(counts, seed)).to(config.dtype(dtype))


def categorical(logits: Any, num_samples: int, dtype: Any = "int32", seed: Seed = None) -> Any:
    """Return `num_samples` class indices for each row of logits `(batch, classes)`.

    >>> categorical([[0.0, 100.0]], 3)
    tensor([[1, 1, 1]], dtype=torch.int32)
    """
    logits = as_floats(logits)
    generator = generator_for(logits, seed)
    return torch.multinomial(torch.softmax(logits, -1), num_samples, replacement=True, generator=generator).to(config.dtype(dtype))


def gamma(shape: Any, alpha: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """Return numbers of a gamma distribution with scale 1, in a shape of known sizes.

    >>> bool(gamma((100,), 2.0).min() >= 0)
    True
    """
    alpha = torch.broadcast_to(as_tensor(alpha, config.dtype(dtype)), sizes_of(shape)).contiguous()
    return torch._standard_gamma(alpha, generator=generator_for(alpha, seed))


def beta(shape: Any, alpha: Any, beta: Any, dtype: Any = None, seed: Seed = None) -> Any:
    """Return numbers of a beta distribution, all between 0 and 1, in a shape of known sizes.

    >>> bool(beta((100,), 2.0, 2.0).max() <= 1)
    True
    """
    source = seed if isinstance(seed, SeedGenerator) else SeedGenerator(seed)
    first, second = gamma(shape, alpha, dtype, source), gamma(shape, beta, dtype, source)
    return first / (first + second)


def dropout(inputs: Any, rate: float, noise_shape: Sequence[int | None] | None = None, seed: Seed = None) -> Any:
    """Return the inputs with the share `rate` set to 0 and the rest enlarged to keep the sum. Axes of size 1 in `noise_shape` share.

    >>> dropout(torch.ones(3), 0.0)
    tensor([1., 1., 1.])
    """
    inputs = as_floats(inputs)
    if noise_shape is None and (seed is None or generator_for(inputs, seed) is None):
        return F.dropout(inputs, rate, training=True)
    sizes = [inputs.size(axis) if size is None else size for axis, size in enumerate(noise_shape or (None,) * inputs.ndim)]
    kept = inputs.new_empty(sizes)
    kept = kept.bernoulli_(1 - rate, generator=generator_for(kept, seed))
    return inputs * kept / (1 - rate)


def shuffle(x: Any, axis: int = 0, seed: Seed = None) -> Any:
    """Return `x` with the parts along an axis in another order.

    >>> shuffle(torch.arange(5)).sum()
    tensor(10)
    """
    x = as_tensor(x)
    keys = x.new_empty((x.size(axis),), dtype=torch.float64)
    return torch.index_select(x, axis, torch.argsort(keys.uniform_(generator=generator_for(keys, seed))))
