"""The first values of weights: constants, plain distributions, and distributions scaled to the shape.

Shapes are in Keras' layout: a dense kernel is `(in, out)`, a convolution's `(spatial..., in, out)`.
"""

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn import config
from torchkeras_fn.arguments import number, one_of
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.numpy_arrays import taken
from torchkeras_fn.random_seeds import Seed, SeedGenerator, seed_source
from torchkeras_fn.registry import Registry

# The standard deviation of a standard normal distribution cut off at two standard deviations.
_TRUNCATED_STDDEV = 0.87962566103423978


class Initializer(Configurable):
    """Makes a tensor of a given shape. A subclass defines `fill`, or overrides `__call__(shape, dtype=None)` as in Keras.

    >>> class Halves(Initializer):
    ...     def fill(self, tensor, generator):
    ...         return tensor.fill_(0.5)
    >>> Halves()((2, 1))
    tensor([[0.5000],
            [0.5000]])
    """

    seed: Seed = None

    def __init__(self) -> None:
        """Take no arguments."""

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        """Return a new tensor of `shape`, and of `dtype` or else `config.floatx()`."""
        tensor = torch.empty(_sizes(shape), dtype=config.dtype(dtype))
        generator = None
        # A tensor without storage has nothing to draw, and its device no generator.
        if self.seed is not None and not tensor.is_meta:
            seed, device = self.seed, tensor.device
            generator = seed.on(device) if isinstance(seed, SeedGenerator) else torch.Generator(device).manual_seed(seed)
        with torch.no_grad():
            return self.fill(tensor, generator)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Return `tensor` filled with values; `generator` is `None` for torch's global one."""
        raise NotImplementedError(f"{type(self).__name__} needs a fill(tensor, generator) or a __call__(shape, dtype=None).")


class Zeros(Initializer):
    """All zeros.

    >>> Zeros()((2,))
    tensor([0., 0.])
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.zero_()


class Ones(Initializer):
    """All ones.

    >>> Ones()((2,), dtype="int64")
    tensor([1, 1])
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.fill_(1)


class Constant(Initializer):
    """One value everywhere, or the values of an array (such as pretrained embeddings) that broadcasts to the shape.

    >>> Constant(0.5)((1, 2))
    tensor([[0.5000, 0.5000]])
    >>> Constant(np.array([1.0, 2.0]))((2,))
    tensor([1., 2.])
    """

    def __init__(self, value: Any = 0.0):
        self.value = value

    def get_config(self) -> dict[str, Any]:
        """Return the value; an array as nested lists."""
        value = self.value.cpu() if isinstance(self.value, torch.Tensor) else self.value
        return {"value": np.asarray(value).tolist() if hasattr(value, "shape") else value}

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        values = torch.as_tensor(taken(self.value), dtype=tensor.dtype)
        try:
            return tensor.copy_(values)
        except RuntimeError as error:
            raise ValueError(
                f"A constant of shape {tuple(values.shape)} does not fit a weight of shape {tuple(tensor.shape)}. "
                "Give a number, or an array of the weight's shape."
            ) from error


class Identity(Initializer):
    """The identity matrix times `gain`; two dimensions only.

    >>> Identity()((2, 3))
    tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """

    def __init__(self, gain: float = 1.0):
        self.gain = number(gain, "gain")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if tensor.ndim != 2:
            raise ValueError(f"Identity makes matrices: expected a shape of two dimensions, got {tuple(tensor.shape)}.")
        return tensor.copy_(self.gain * torch.eye(*tensor.shape))


class RandomInitializer(Initializer):
    """Draws from a distribution. With a number for a `seed` every call gives the same values, with a `random.SeedGenerator`
    other ones, but the same in every program; without, torch's global generator is used.

    >>> RandomNormal(seed=1)((2, 2)).equal(RandomNormal(seed=1)((2, 2)))
    True
    """

    def __init__(self, seed: Seed = None):
        self.seed = seed_source(seed)

    def __call__(self, shape: Sequence[int], dtype: Any = None) -> torch.Tensor:
        """Return a new tensor of `shape`, and of the float type `dtype` or else `config.floatx()`."""
        if not config.dtype(dtype).is_floating_point:
            raise ValueError(f"{type(self).__name__} draws floats: expected a float dtype, got {dtype!r}.")
        return super().__call__(shape, dtype)


class RandomUniform(RandomInitializer):
    """Evenly distributed between `minval` and `maxval`.

    >>> bool(RandomUniform(0.0, 2.0)((1000,)).max() > 1)
    True
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.minval, self.maxval = number(minval, "minval"), number(maxval, "maxval")
        if self.minval > self.maxval:
            raise ValueError(f"'minval' must not exceed 'maxval', got minval={minval!r} and maxval={maxval!r}.")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.uniform_(self.minval, self.maxval, generator=generator)


class RandomNormal(RandomInitializer):
    """Normally distributed with the given mean and standard deviation.

    >>> RandomNormal(mean=3.0, stddev=0.0)((2,))
    tensor([3., 3.])
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: Seed = None):
        super().__init__(seed)
        self.mean, self.stddev = number(mean, "mean"), number(stddev, "stddev", minimum=0)

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        return tensor.normal_(self.mean, self.stddev, generator=generator)


class TruncatedNormal(RandomNormal):
    """Normally distributed, without the values further than two `stddev` from the mean.

    >>> bool(TruncatedNormal(stddev=1.0)((1000,)).abs().max() <= 2)
    True
    """

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        # The inverse of the distribution function rather than redrawing: no look at the values, so no wait for a device.
        limit = math.erf(math.sqrt(2.0))
        tensor.uniform_(-limit, limit, generator=generator).erfinv_().mul_(math.sqrt(2.0)).clamp_(-2, 2)
        return tensor.mul_(self.stddev).add_(self.mean)


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


class Orthogonal(RandomInitializer):
    """A random matrix with orthonormal rows or columns (whichever are fewer), times `gain`.

    A shape of more than two dimensions is taken as the matrix `(all but the last, last)`.
    Source: Saxe et al., 2014, https://arxiv.org/abs/1312.6120

    >>> kernel = Orthogonal()((3, 2))
    >>> (kernel.T @ kernel).allclose(torch.eye(2), atol=1e-6)
    True
    """

    def __init__(self, gain: float = 1.0, seed: Seed = None):
        super().__init__(seed)
        self.gain = number(gain, "gain")

    def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        if tensor.ndim < 2:
            raise ValueError(f"Orthogonal needs a shape of two or more dimensions, got {tuple(tensor.shape)}.")
        # There is no QR decomposition in half precision.
        matrix = tensor.reshape(-1, tensor.shape[-1]).to(torch.promote_types(tensor.dtype, torch.float32))
        return tensor.copy_(torch.nn.init.orthogonal_(matrix, self.gain, generator=generator).reshape(tensor.shape))


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


def _sizes(shape: Any) -> tuple[int, ...]:
    sizes = shape if isinstance(shape, (tuple, list)) else (shape,)
    if not all(isinstance(size, (int, np.integer)) and size >= 0 for size in sizes):
        raise ValueError(f"The shape of a weight is a tuple of integers that are not negative, got {shape!r}.")
    return tuple(int(size) for size in sizes)


zeros, ones, constant, identity, orthogonal = Zeros, Ones, Constant, Identity, Orthogonal
IdentityInitializer, OrthogonalInitializer = Identity, Orthogonal
uniform = random_uniform = RandomUniform
normal = random_normal = RandomNormal
truncated_normal, variance_scaling = TruncatedNormal, VarianceScaling
glorot_uniform = xavier_uniform = GlorotUniform
glorot_normal = xavier_normal = GlorotNormal
he_uniform, he_normal, lecun_uniform, lecun_normal = HeUniform, HeNormal, LecunUniform, LecunNormal

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
        if values.shape != _sizes(shape):
            name = getattr(function, "__name__", repr(function))
            raise ValueError(f"The initializer {name} returned the shape {tuple(values.shape)}; expected {_sizes(shape)}.")
        return values

    return initializer
