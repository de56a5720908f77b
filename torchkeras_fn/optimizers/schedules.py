"""Learning rates that follow from the number of steps taken: formulas over plain numbers, so that a step waits for nothing."""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from torchkeras_fn.arguments import number
from torchkeras_fn.configurable import Configurable
from torchkeras_fn.registry import Registry


class LearningRateSchedule(Configurable):
    """A learning rate that follows from the number of steps taken. Subclass it, and override `__call__`.

    An optimizer passes the number of its steps so far as an integer tensor on the CPU, which torch's functions, Python's
    operators and those of `math` all take; what is returned may be a tensor or a number.

    >>> class Halved(LearningRateSchedule):
    ...     def __init__(self, start):
    ...         self.start = start
    ...     def __call__(self, step):
    ...         return self.start * torch.pow(0.5, step)
    >>> Halved(1.0).at(2)
    0.25
    >>> Halved(1.0).get_config()
    {'start': 1.0}
    """

    def __call__(self, step: Any) -> Any:
        """Return the learning rate after so many steps."""
        raise NotImplementedError(f"{type(self).__name__} must override __call__(self, step), which returns the learning rate.")

    def at(self, step: int) -> float:
        """Return the learning rate after so many steps, as a number."""
        return float(self(torch.tensor(step)))


class Formula(LearningRateSchedule):
    """A schedule whose `rate` is a function of a number. Calling it takes a number, a tensor, or an array of steps too.

    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5)(np.array([0, 10, 20]))
    array([0.1  , 0.05 , 0.025])
    """

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        raise NotImplementedError

    def __call__(self, step: Any) -> Any:
        """Return the learning rate after so many steps: a number, or an array (a tensor) of the shape of `step`."""
        if np.ndim(step) == 0:
            return self.rate(float(step))
        rates = np.vectorize(self.rate, otypes=[float])(np.asarray(step))
        return torch.as_tensor(rates) if isinstance(step, torch.Tensor) else rates

    def at(self, step: int) -> float:
        """Return the learning rate after so many steps, as a number."""
        return self.rate(step) if type(self).__call__ is Formula.__call__ else super().at(step)


def _above_zero(value: Any, argument: str) -> float:
    if number(value, argument) <= 0:
        raise ValueError(f"{argument!r} must be greater than 0, got {value!r}.")
    return float(value)


class ExponentialDecay(Formula):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`; in whole steps of `decay_steps` with `staircase=True`.

    >>> ExponentialDecay(0.1, decay_steps=10, decay_rate=0.5, staircase=True)(19)
    0.05
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False, name: str = "ExponentialDecay"
    ):
        self.initial_learning_rate = number(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _above_zero(decay_steps, "decay_steps")
        self.decay_rate = number(decay_rate, "decay_rate")
        self.staircase = bool(staircase)
        self.name = name

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        return self.initial_learning_rate * math.pow(self.decay_rate, _part(step, self.decay_steps, self.staircase))


class InverseTimeDecay(Formula):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`; in whole steps of `decay_steps` with `staircase=True`.

    >>> InverseTimeDecay(0.1, decay_steps=10, decay_rate=1.0)(10)
    0.05
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False, name: str = "InverseTimeDecay"
    ):
        self.initial_learning_rate = number(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _above_zero(decay_steps, "decay_steps")
        self.decay_rate = number(decay_rate, "decay_rate")
        self.staircase = bool(staircase)
        self.name = name

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        return self.initial_learning_rate / (1 + self.decay_rate * _part(step, self.decay_steps, self.staircase))


def _part(step: float, decay_steps: float, staircase: bool) -> float:
    return math.floor(step / decay_steps) if staircase else step / decay_steps


class PiecewiseConstantDecay(Formula):
    """`values[0]` up to and including step `boundaries[0]`, then `values[1]`, and so on: one value more than boundaries.

    >>> schedule = PiecewiseConstantDecay([10, 20], [0.1, 0.01, 0.001])
    >>> schedule(10), schedule(11), schedule(21)
    (0.1, 0.01, 0.001)
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"):
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                f"'values' must be one more than 'boundaries', got {len(values)} values and {len(boundaries)} boundaries: "
                f"{list(values)} and {list(boundaries)}."
            )
        self.boundaries = [float(boundary) for boundary in boundaries]
        self.values = [float(value) for value in values]
        if self.boundaries != sorted(self.boundaries):
            raise ValueError(f"'boundaries' must ascend, got {list(boundaries)}.")
        self.name = name

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        return self.values[bisect_left(self.boundaries, step)]


class PolynomialDecay(Formula):
    """From the initial rate to `end_learning_rate` in `decay_steps`, along `(1 - step / decay_steps) ** power`.

    With `cycle=True` the end is put off, each time it is reached, to the next multiple of `decay_steps`.

    >>> PolynomialDecay(0.1, decay_steps=10, end_learning_rate=0.0)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ):
        self.initial_learning_rate = number(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _above_zero(decay_steps, "decay_steps")
        self.end_learning_rate = number(end_learning_rate, "end_learning_rate")
        self.power = number(power, "power")
        self.cycle = bool(cycle)
        self.name = name

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        steps = self.decay_steps * max(1, math.ceil(step / self.decay_steps)) if self.cycle else self.decay_steps
        left = 1 - min(step, steps) / steps
        return (self.initial_learning_rate - self.end_learning_rate) * math.pow(left, self.power) + self.end_learning_rate


class CosineDecay(Formula):
    """Half a cosine, from the initial rate to `alpha` times it in `decay_steps` (Loshchilov & Hutter, 2016).

    With a `warmup_target` the rate first rises to it from the initial rate, in a line of `warmup_steps`, and the cosine
    begins there. https://arxiv.org/abs/1608.03983

    >>> CosineDecay(0.1, decay_steps=10)(5)
    0.05
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ):
        self.initial_learning_rate = number(initial_learning_rate, "initial_learning_rate")
        self.decay_steps = _above_zero(decay_steps, "decay_steps")
        self.alpha = number(alpha, "alpha")
        self.name = name
        self.warmup_target = None if warmup_target is None else number(warmup_target, "warmup_target")
        self.warmup_steps = number(warmup_steps, "warmup_steps", minimum=0)

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        highest = self.initial_learning_rate
        if self.warmup_target is not None:
            if step < self.warmup_steps:
                return highest + (self.warmup_target - highest) * step / self.warmup_steps
            highest, step = self.warmup_target, step - self.warmup_steps
        return highest * _cosine(min(step / self.decay_steps, 1.0), self.alpha)


class CosineDecayRestarts(Formula):
    """Half cosines one after the other: the first `first_decay_steps` long, each next `t_mul` times as long as the one before.

    Each begins at `m_mul` times the rate of the one before, and ends at `alpha` times the initial rate (Loshchilov &
    Hutter, 2016). https://arxiv.org/abs/1608.03983

    >>> schedule = CosineDecayRestarts(0.1, first_decay_steps=10)
    >>> schedule(5), schedule(10), schedule(20)
    (0.05, 0.1, 0.05)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ):
        self.initial_learning_rate = number(initial_learning_rate, "initial_learning_rate")
        self.first_decay_steps = _above_zero(first_decay_steps, "first_decay_steps")
        self.t_mul = _above_zero(t_mul, "t_mul")
        self.m_mul = number(m_mul, "m_mul")
        self.alpha = number(alpha, "alpha")
        self.name = name

    def rate(self, step: float) -> float:
        """Return the learning rate after so many steps."""
        length, restarts = self.first_decay_steps, 0
        if self.t_mul == 1:
            restarts, step = int(step // length), step % length
        elif self.t_mul < 1 and step >= length / (1 - self.t_mul):
            return self.initial_learning_rate * self.alpha  # the ever shorter cosines have come to an end
        while step >= length:
            restarts, step, length = restarts + 1, step - length, length * self.t_mul
        return self.initial_learning_rate * _cosine(step / length, self.alpha, self.m_mul**restarts)


def _cosine(part: float, alpha: float, height: float = 1.0) -> float:
    return (1 - alpha) * height * 0.5 * (1 + math.cos(math.pi * part)) + alpha


registry = Registry(
    "learning rate schedule",
    {
        kind.__name__: kind
        for kind in (CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay)
    },
)


def get(identifier: Any) -> Any:
    """Return the schedule for a config; a schedule is given back as it is.

    >>> get({"class_name": "CosineDecay", "config": {"initial_learning_rate": 0.1, "decay_steps": 10}})(0)
    0.1
    """
    return registry.get(identifier)


def serialize(schedule: Any) -> Any:
    """Return the config that `deserialize` turns back into the schedule.

    >>> serialize(ExponentialDecay(0.1, 10, 0.5))["class_name"]
    'ExponentialDecay'
    """
    return registry.serialize(schedule)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the schedule that `serialize` described.

    >>> deserialize(serialize(ExponentialDecay(0.1, 10, 0.5)))(10)
    0.05
    """
    return registry.deserialize(config, custom_objects)
