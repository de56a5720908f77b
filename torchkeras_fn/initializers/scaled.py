"""First values drawn from distributions scaled to the shape, so that signals keep their size from layer to layer."""

import math
from collections.abc import Sequence

import torch

from torchkeras_fn.arguments import number, one_of
from torchkeras_fn.initializers.drawn import RandomInitializer, TruncatedNormal
from torchkeras_fn.random_seeds import Seed

# The standard deviation of a standard normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class VarianceScaling(RandomInitializer):
    """Zero mean and variance `scale / n`, where n is the number of inputs, of outputs, or their average.

    `mode` is `'fan_in'`, `'fan_out'` or `'fan_avg'`. `distribution` is `'truncated_normal'` (or `'normal'`, the same),
    `'untruncated_normal'` or `'uniform'`. `input_axes` and `output_axes` name the axes to count by for shapes of
    another layout than `(spatial..., in, out)`. Raises `ValueError` for other words and for a scale that is not positive.

    >>> bool(VarianceScaling(scale=3.0, distribution="uniform")((4, 1000)).abs().max() <= 1.5)
    True
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: Seed = None,
        input_axes: Sequence[int] | None = None,
        output_axes: Sequence[int] | None = None,
    ):
        super().__init__(seed)
        if number(scale, "scale") <= 0:
            raise ValueError(f"'scale' must be positive, got {scale!r}.")
        self.scale = float(scale)
        self.mode = one_of(mode, "mode", "fan_in", "fan_out", "fan_avg")
        self.distribution = one_of(distribution, "distribution", "truncated_normal", "normal", "untruncated_normal", "uniform")
        self.input_axes, self.output_axes = input_axes, output_axes

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        fan_in, fan_out = compute_fans(tensor.shape, self.input_axes, self.output_axes)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        stddev = math.sqrt(self.scale / max(1.0, fan))
        if self.distribution == "uniform":
            limit = math.sqrt(3.0) * stddev
            return tensor.uniform_(-limit, limit, generator=generator)
        if self.distribution == "untruncated_normal":
            return tensor.normal_(0.0, stddev, generator=generator)
        return TruncatedNormal(stddev=stddev / _TRUNCATED_STDDEV).fill(tensor, generator)


class _Recipe(VarianceScaling):
    """A `VarianceScaling` that has a name of its own."""

    recipe: tuple[float, str, str]

    def __init__(self, seed: Seed = None, input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None):
        super().__init__(*self.recipe, seed, input_axes, output_axes)


class GlorotUniform(_Recipe):
    """Uniform with variance 2 / (inputs + outputs), Keras' default for kernels. Source: Glorot and Bengio, 2010.

    >>> bool(GlorotUniform()((3, 3)).abs().max() <= 1)
    True
    """

    recipe = (1.0, "fan_avg", "uniform")


class GlorotNormal(_Recipe):
    """Truncated normal with variance 2 / (inputs + outputs). Source: Glorot and Bengio, 2010.

    >>> GlorotNormal(seed=1).get_config()
    {'seed': 1, 'input_axes': None, 'output_axes': None}
    """

    recipe = (1.0, "fan_avg", "truncated_normal")


class HeUniform(_Recipe):
    """Uniform with variance 2 / inputs, for relu layers. Source: He et al., 2015, https://arxiv.org/abs/1502.01852

    >>> HeUniform()((3, 3, 8, 16)).shape
    torch.Size([3, 3, 8, 16])
    """

    recipe = (2.0, "fan_in", "uniform")


class HeNormal(_Recipe):
    """Truncated normal with variance 2 / inputs, for relu layers. Source: He et al., 2015, https://arxiv.org/abs/1502.01852

    >>> HeNormal()((8, 16)).shape
    torch.Size([8, 16])
    """

    recipe = (2.0, "fan_in", "truncated_normal")


class LecunUniform(_Recipe):
    """Uniform with variance 1 / inputs. Source: LeCun et al., "Efficient BackProp", 1998.

    >>> LecunUniform()((8, 16)).shape
    torch.Size([8, 16])
    """

    recipe = (1.0, "fan_in", "uniform")


class LecunNormal(_Recipe):
    """Truncated normal with variance 1 / inputs, for selu layers. Source: LeCun et al., "Efficient BackProp", 1998.

    >>> LecunNormal()((8, 16)).shape
    torch.Size([8, 16])
    """

    recipe = (1.0, "fan_in", "truncated_normal")


def compute_fans(
    shape: Sequence[int], input_axes: Sequence[int] | None = None, output_axes: Sequence[int] | None = None
) -> tuple[int, int]:
    """Return how many inputs reach an output through a weight of this shape, and how many outputs an input reaches.

    >>> compute_fans((10, 20)), compute_fans((3, 3, 16, 32)), compute_fans((5,))
    ((10, 20), (144, 288), (5, 5))
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    window = math.prod(shape[:-2])
    return shape[-2] * window, shape[-1] * window
